"""python -m service.store load: what it takes, what it says, and what is wrong."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest

from models.checkpoint import read, record_metric
from models.metric_choice import MetricChoice
from service.formats import png
from service.store.interface import DiskFull, IfExists, Items, Upserted
from service.store.sqlite.store import SqliteStore
from service.store_command import main


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


def test_inverted_pictures_are_loaded_as_they_would_be_encoded(setting: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8), np.uint8)
    np.savez(setting / "light.npz", images=image)
    np.savez(setting / "dark.npz", images=255 - image)
    (setting / "pictures").mkdir()
    (setting / "pictures" / "dark.png").write_bytes(png.write(255 - image[0][..., None]))
    assert load(setting / "light.npz") == 0
    assert load(Path("--invert=yes"), setting / "dark.npz", setting / "pictures") == 0
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    with np.load(setting / "out.npz") as arrays:
        assert arrays["mu"].shape == (3, 3)
        assert np.ptp(arrays["mu"], axis=0).tolist() == [0, 0, 0]


def test_pictures_that_are_nearly_black_are_warned_of(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "masks").mkdir()
    (setting / "masks" / "one.png").write_bytes(png.write(np.eye(8, dtype=np.uint8)[..., None]))
    np.savez(setting / "masks.npz", images=np.stack([np.eye(8, dtype=np.uint8)] * 9))
    for path in (setting / "masks", setting / "masks.npz"):
        assert load(path) == 0
        assert "warning: the largest value is 1 of 255, so all pictures are nearly black" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["nothing", "text", "objects", "empty", "corrupt"])
def test_what_cannot_be_loaded(setting: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = setting / ("x.npz" if kind in ("text", "objects") else "x")
    if kind == "text":
        path.write_text("no archive")
    elif kind == "objects":
        np.savez(path, images=np.array([None, "x"], object))
    elif kind in ("empty", "corrupt"):
        path.mkdir()
        if kind == "corrupt":
            (path / "a.png").write_bytes(b"no picture")
    assert load(path) == 1
    assert "error: " in capsys.readouterr().err
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 1


def write_pictures(folder: Path, count: int) -> Path:
    """A folder of random pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(np.random.default_rng(1).integers(0, 256, (count, 8, 8, 1), np.uint8)):
        (folder / f"{i}.png").write_bytes(png.write(image))
    return folder


def test_a_load_says_what_it_found_and_what_became_of_it(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(setting / "pictures", 5)
    (folder / "2.png").write_bytes(b"")
    (folder / "notes.txt").touch()
    assert load(folder) == 0
    said = capsys.readouterr().out.splitlines()
    digest = read(Path(os.environ["VAE_MODELS_DIR"]) / "grey").digest
    assert said == [
        f"store: {Path(os.environ['VAE_STORE']).resolve()}",
        f"model: grey@sha256:{digest[:12]}..., for the new collection 'some', which is searched by l2",
        f"{folder}: 5 pictures",
        "sizes (height x width): 8 x 8 (4)",
        "modes: L 4; read as grey",
        "left out: files of other kinds: 1 (.txt 1)",
        f"left out {folder / '2.png'}: the file is empty",
        "found 5 pictures: added 4, replaced 0, already there 0, left out 1 (named above, with the reasons)",
    ]
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes())
    assert load(folder) == 0
    *_, advice, counts = capsys.readouterr().out.splitlines()
    assert advice.startswith("what is already there is not encoded again; --replace does it")
    assert counts == "found 5 pictures: added 0, replaced 0, already there 4, left out 1 (named above, with the reasons)"
    assert load(Path("--replace"), folder) == 0
    *_, counts = capsys.readouterr().out.splitlines()
    assert counts == "found 5 pictures: added 0, replaced 1, already there 3, left out 1 (named above, with the reasons)"


def test_originals_that_are_left_out_are_named(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "one.png").write_bytes(png.write(np.zeros((8, 8, 1), np.uint8)))
    assert load(setting / "one.png") == 0
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    assert " originals of " not in capsys.readouterr().out
    with closing(sqlite3.connect(setting / "latents.db")) as connection:
        connection.execute("UPDATE collections SET keep = 'picture'")
        connection.commit()
    assert load(setting / "one.png") == 0
    assert "the originals of these pictures are not kept" in capsys.readouterr().out
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    assert "the dump has no originals of pictures; a backup has them" in capsys.readouterr().out


def test_more_corrupt_files_than_allowed_end_in_an_error_but_the_others_are_stored(
    setting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pictures(setting / "pictures", 5)
    for name in ("1.png", "3.png"):
        (folder / name).write_bytes(b"")
    assert load(folder) == 1
    told = capsys.readouterr()
    assert "found 5 pictures: added 3, replaced 0, already there 0, left out 2" in told.out
    assert "error: 2 of 5 pictures could not be read, more than the allowed share of 0.01 (--max-corrupt)" in told.err
    assert load(Path("--max-corrupt=0.5"), folder) == 0


def test_paths_with_the_same_ids_are_refused_before_anything_is_stored(
    setting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_pictures(setting / name, 2) for name in ("a", "b")]
    assert load(*paths) == 1
    assert "add --prefix" in capsys.readouterr().err
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 1
    assert load(Path("--prefix"), *paths) == 0
    assert "added 4, replaced 0" in capsys.readouterr().out


def test_a_load_takes_the_model_of_the_collection_under_any_name(
    setting: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, others = write_pictures(setting / "pictures", 2), setting / "others"
    for name, renamed in (("grey", "grey-v1"), ("colour", "colour")):
        shutil.copytree(weights / name, others / renamed)
    again = ["load", "--collection", "some", str(folder)]
    assert load(folder) == 0
    monkeypatch.setenv("VAE_DEFAULT_MODEL", "colour")
    assert main(again) == 0
    assert "..., with which the collection 'some' was made\n" in capsys.readouterr().out
    assert main([*again, "--model", "colour"]) == 1
    assert "leave out --model, or load into a new collection" in capsys.readouterr().err
    assert main([*again, "--metric", "w2"]) == 1
    assert "is searched by l2, and --metric and --sigma-weight are for new collections only" in capsys.readouterr().err
    assert main([*again, "--sigma-weight", "2"]) == 1
    assert "is searched by l2" in capsys.readouterr().err
    assert main([*again, "--metric", "l2"]) == 0
    capsys.readouterr()
    for named in ([], ["--model", "grey-v1"]):
        assert main([*again, "--models-dir", str(others), *named]) == 0
        assert "with which the collection 'some' was made as grey\n" in capsys.readouterr().out
    shutil.rmtree(others / "grey-v1")
    assert main([*again, "--models-dir", str(others)]) == 1
    assert "has no checkpoint with that digest; give the directory" in capsys.readouterr().err
    with closing(sqlite3.connect(setting / "latents.db")) as connection:
        assert connection.execute("SELECT model FROM collections").fetchall() == [("grey",)]


@pytest.mark.parametrize(
    ("flags", "said", "made"),
    [
        ("", "w2 with a sigma_weight of 3", ("w2", 3.0)),
        ("--sigma-weight 0.5", "w2 with a sigma_weight of 0.5", ("w2", 0.5)),
        ("--metric w2", "w2 with a sigma_weight of 1", ("w2", 1.0)),
        ("--metric cosine", "cosine", ("cosine", 1.0)),
    ],
)
def test_a_new_collection_has_the_distance_of_its_model_or_of_the_flags(
    setting: Path,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    said: str,
    made: tuple[str, float],
) -> None:
    shutil.copytree(weights / "grey", setting / "models" / "grey")
    record_metric(setting / "models" / "grey", MetricChoice("w2", 3.0, "it was tried"))
    folder = write_pictures(setting / "pictures", 2)
    again = ["load", "--collection", "some", "--models-dir", str(setting / "models"), str(folder)]
    assert main([*again, "--model", "grey", *flags.split()]) == 0
    assert f"which is searched by {said}\n" in capsys.readouterr().out
    with closing(sqlite3.connect(setting / "latents.db")) as connection:
        assert connection.execute("SELECT metric, sigma_weight FROM collections").fetchall() == [made]
    assert main([*again, *flags.split()]) == 0
    with pytest.raises(SystemExit):
        main([*again, "--sigma-weight", "0"])
    assert "must be a number above 0 and at most 1000, not '0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("dump --collection nix out", "the store has no collection 'nix': its collections are some; choose one"),
        ("dump --collection some /proc/out", "nothing can be written into /proc"),
        ("dump --store nix.db --collection some out", "there is no file nix.db; check --store"),
        ("dump --store text --collection some out", "text is not a latent store: it is not a sqlite file"),
        ("load --collection some --store a a", "a is a directory; give the path of a file"),
        ("load --collection some --max-corrupt 0.1 --model nix a", "has no checkpoint 'nix', only colour, grey; choose one"),
        ("load --collection new --model grey --sigma-weight 2 a", "but the metric is l2: leave it out, or add --metric w2"),
        ("load --collection some a a", "a is given twice, perhaps under another name; give it once"),
        ("load --collection some a link", "link is given twice"),
        ("load --collection some --prefix a a/0.png", "which is also in a; nothing was stored; load the paths into different"),
        ("load --collection some --id-column x a/0.png", "are for Parquet files and for tables, and a/0.png is neither"),
        ("load --collection some nix", "nix: no such file or folder; check the path"),
        ("load --collection some bad.png", "none of the pictures could be read, so none was added; the first one is bad.png"),
    ],
)
def test_what_is_wrong_and_what_to_do_is_one_sentence(
    setting: Path, arguments: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(setting)
    assert load(write_pictures(setting / "a", 2)) == 0
    (setting / "link").symlink_to("a")
    (setting / "bad.png").touch()
    (setting / "text").write_text("no database, but long enough to be read as one")
    capsys.readouterr()
    assert main(arguments.split()) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line and "|" not in line]  # no bars of progress
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert reason in said[0]


def test_a_load_that_fails_says_how_far_it_came(
    setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.load_command.BATCH", 2)
    upsert, calls = SqliteStore.upsert, list[Items]()

    async def fails_later(store: SqliteStore, name: str, digest: str, items: Items, if_exists: IfExists) -> Upserted:
        calls.append(items)
        if len(calls) == 3:
            raise DiskFull("nothing was changed: no room")
        return await upsert(store, name, digest, items, if_exists)

    folder = write_pictures(setting / "pictures", 8)
    with monkeypatch.context() as broken:
        broken.setattr(SqliteStore, "upsert", fails_later)
        assert load(folder) == 1
    reason = "no room; this load had stored 4 of 8 pictures, and a load with the same options goes on from there"
    assert capsys.readouterr().err.rstrip().endswith(reason)
    assert load(folder) == 0
    assert "added 4, replaced 0, already there 4, left out 0" in capsys.readouterr().out


def test_each_setting_that_is_wrong_is_a_line(
    setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAE_PORT", "x")
    assert main(["backup", str(setting / "out")]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("error: VAE_PORT must be ")
