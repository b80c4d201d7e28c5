"""python -m service.store: load, again, dump, backup."""

import sqlite3
from pathlib import Path

import numpy as np
import orjson
import pytest

from service import png
from service.store.__main__ import main


@pytest.fixture
def setting(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a service with a store of its own; where files may be put."""
    for name, value in (("MODELS_DIR", weights), ("STORE", tmp_path / "latents.db"), ("DEVICE", "cpu"), ("THREADS", 1)):
        monkeypatch.setenv(f"VAE_{name}", str(value))
    return tmp_path


def load(*paths: Path) -> int:
    return main(["load", "--collection", "some", "--model", "grey", *map(str, paths)])


def test_load_goes_on_where_it_stopped_and_dump_has_it_all(setting: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 8, 8), np.uint8), rng.integers(0, 10, 30)
    np.savez(setting / "few.npz", images=images[:20], labels=labels[:20])
    folder = setting / "pictures"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "one.png").write_bytes(png.write(images[0][..., None]))
    assert load(setting / "few.npz") == 0
    np.savez(setting / "few.npz", images=images, labels=labels)
    assert load(setting / "few.npz", folder) == 0
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    lines = [orjson.loads(line) for line in (setting / "out.jsonl").read_bytes().splitlines()]
    assert [line["id"] for line in lines] == ["deeper/one.png", *(f"few/{i:06d}" for i in range(30))]
    assert [line["metadata"] for line in lines[1:]] == [{"label": label} for label in labels.tolist()]
    assert sorted(line["seq"] for line in lines) == list(range(1, 32))  # each was added once
    with np.load(setting / "out.npz") as arrays:
        assert arrays["mu"].shape == arrays["sigma"].shape == (31, 3)
        assert arrays["mu"][0].tolist() == arrays["mu"][1].tolist()
        assert arrays["has_sigma"].all()
    assert main(["backup", str(setting / "copy.db")]) == 0
    with sqlite3.connect(setting / "copy.db") as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (31,)
    connection.close()


@pytest.mark.parametrize("kind", ["nothing", "text", "floats", "empty"])
def test_what_cannot_be_loaded(setting: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = setting / ("x.npz" if kind in ("text", "floats") else "x")
    if kind == "text":
        path.write_text("no archive")
    elif kind == "floats":
        np.savez(path, images=np.zeros((2, 8, 8)))
    elif kind == "empty":
        path.mkdir()
    assert load(path) == 1
    assert "error: " in capsys.readouterr().err
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 1
