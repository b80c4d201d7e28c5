"""`models.load("owner/name")`: the hub's own client downloads from a server that speaks its API, and no code is run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

import models
from models import VAE, VAEConfig
from models.checkpoint import CheckpointError, read
from models.diffusers_weights import HALF, INDEX, WEIGHTS
from models.hub import is_hub_name
from tests.models.hub_server import Hub, serving

ROOT = Path(models.__file__).parent.parent
# Loads what it is told and prints, for each, numbers of the model or the error.
PROGRAM = """
import json, sys
import models
for arguments in json.loads(sys.argv[1]):
    try:
        vae = models.load(*arguments)
        print(json.dumps([vae.config.latent_dim, sum(float(values.sum()) for values in vae.parameters())]))
    except models.CheckpointError as error:
        print(json.dumps(str(error)))
"""
TRAP = b"raise SystemExit('code of a repository was run')"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


def saved(path: Path, latent_dim: int) -> tuple[dict[str, bytes], list[float]]:
    """Save a model; return its files, among others that nobody should want, and what PROGRAM prints of it."""
    torch.manual_seed(latent_dim)
    models.save(path, vae := VAE(VAEConfig((1, 8, 8), latent_dim, "mlp", {"hidden": [4]})))
    files = {one.name: one.read_bytes() for one in path.iterdir()}
    others = {"modeling.py": TRAP, "models.py": TRAP, "pytorch_model.bin": b"\x80\x04.", "onnx/encoder.onnx": b"0"}
    return {**files, **others}, [latent_dim, sum(float(values.detach().sum()) for values in vae.parameters())]


def run(program: list[str], url: str, cache: Path, at: Path, **more: str) -> str:
    """Run a program with the hub's settings in an empty environment, since they are read when its client is imported."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_ENDPOINT": url, "HF_HOME": str(cache), **more}
    done = subprocess.run(program, cwd=at, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(arguments: list[list[str | None]], url: str, cache: Path, at: Path, **more: str) -> list[Any]:
    printed = run([sys.executable, "-c", PROGRAM, json.dumps(arguments)], url, cache, at, **more)
    return [json.loads(line) for line in printed.splitlines()]


def test_load_from_the_hub_by_revision_and_from_its_cache(hub: Hub, tmp_path: Path) -> None:
    first, of_first = saved(tmp_path / "first", 2)
    second, of_second = saved(tmp_path / "second", 3)
    commit = hub.commit("someone/digits", first, tag="v1")
    hub.commit("someone/digits", second)
    hub.asked.clear()
    asked: list[list[str | None]] = [
        ["someone/digits"], ["someone/digits", "v1"], ["someone/digits", commit], ["someone/digits", "v9"], ["someone/else"]
    ]  # fmt: skip
    found = loaded(asked, hub.url, tmp_path / "cache", tmp_path)
    assert found[0] == pytest.approx(of_second)
    assert found[1] == found[2] == pytest.approx(of_first)
    assert "someone/digits at v9: there is no such directory here" in found[3]
    assert "the repository has no such branch, tag or commit" in found[3]
    assert "someone/else: there is no such directory here" in found[4]
    assert "it has no such repository, or a private one" in found[4]
    files = [line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line]
    assert set(files) == {"config.json", "model.safetensors"}, "nothing else is even asked for"
    bodies = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert len(bodies) == 4, "each file of each commit once"
    hub.asked.clear()
    again = loaded([["someone/digits"], ["someone/digits", "v1"]], hub.url, tmp_path / "cache", tmp_path, HF_HUB_OFFLINE="1")
    assert again == found[:2]
    assert hub.asked == []


def test_load_what_diffusers_has_saved(hub: Hub, tmp_path: Path) -> None:
    """The weights in full precision are downloaded where there are some, and never a pickle or code."""
    torch.manual_seed(0)
    net: Any = AutoencoderKL(block_out_channels=(8,), norm_num_groups=2, sample_size=8)
    net.save_pretrained(tmp_path / "whole")
    net.save_pretrained(tmp_path / "half", variant="fp16")
    net.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shards = {one.name: one.read_bytes() for one in (tmp_path / "shards").iterdir()}
    files = {one.name: one.read_bytes() for name in ("whole", "half") for one in (tmp_path / name).iterdir()}
    more = {"diffusion_pytorch_model.bin": b"\x80\x04.", "modeling.py": TRAP, "model_index.json": b"{}", "README.md": b"# own"}
    hub.commit("vae/both", {**files, **more}, tag="v1")
    hub.commit("vae/half", {name: content for name, content in files.items() if name != WEIGHTS} | more)
    hub.commit("vae/pickled", {"config.json": files["config.json"]} | more)
    hub.commit("vae/shards", shards | more)
    hub.commit("vae/both", more)
    hub.asked.clear()
    asked: list[list[str | None]] = [["vae/both", "v1"], ["vae/half"], ["vae/pickled"], ["vae/both", "v1"], ["vae/shards"]]
    found = loaded(asked, hub.url, tmp_path / "cache", tmp_path)
    wanted = [4 * 8 * 8, sum(float(values.detach().sum()) for values in net.parameters())]
    assert found[0] == found[1] == found[3] == found[4] == pytest.approx(wanted)
    assert f"{WEIGHTS}: no such file; a checkpoint of diffusers is a directory with it and config.json" in found[2]
    bodies = [
        line.split("/resolve/")[1].partition("/")[2] for line in hub.asked if line.startswith("GET /") and "/resolve/" in line
    ]
    own = [name for name in shards if name not in ("config.json", INDEX)]
    assert len(own) > 1
    assert sorted(bodies) == sorted(["config.json"] * 4 + [HALF, WEIGHTS, INDEX, *own])


def test_what_is_here_wins_and_what_is_no_model_is_said(hub: Hub, tmp_path: Path) -> None:
    files, _ = saved(tmp_path / "first", 2)
    hub.commit("other/digits", files)
    hub.commit("other/empty", {"README.md": b"# nothing", "modeling.py": TRAP})
    hub.commit("other/broken", {**files, "model.safetensors": files["model.safetensors"][:-9]})
    _, of_local = saved(tmp_path / "other" / "digits", 4)
    hub.asked.clear()
    asked: list[list[str | None]] = [["other/digits"], ["other/digits", "v1"], ["other/empty"], ["other/broken"]]
    found = loaded(asked, hub.url, tmp_path / "cache", tmp_path)
    assert found[0] == pytest.approx(of_local)
    assert "has no revisions: leave revision='v1' out" in found[1]
    assert "config.json: no such file; a checkpoint is a directory with config.json and model.safetensors" in found[2]
    assert "model.safetensors: truncated or not a safetensors file" in found[3]
    assert not any("digits" in line for line in hub.asked)


def test_the_command_of_the_document_downloads_a_model_to_serve(hub: Hub, tmp_path: Path) -> None:
    document = (ROOT / "docs" / "hub.md").read_text()
    (command,) = [line.strip() for line in document.splitlines() if "hf download" in line]
    assert command.startswith(".venv/bin/hf download OWNER/NAME --local-dir runs/NAME ")
    files, _ = saved(tmp_path / "first", 2)
    hub.commit("third/digits", files)
    words = command.replace("OWNER/NAME", "third/digits").replace("NAME", "digits").replace("'", "").split()[1:]
    run([str(Path(sys.executable).parent / "hf"), *words], hub.url, tmp_path / "cache", tmp_path)
    here = tmp_path / "runs" / "digits"
    assert read(here).digest == read(tmp_path / "first").digest
    assert {path.name for path in here.iterdir()} == {".cache", "config.json", "model.safetensors"}


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"someone/digits: there is no such directory here; .*'vae-service\[hub\]'"):
        models.load("someone/digits")


def test_names_of_the_hub_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("someone/digits-2.0_x")
    for path in (
        "digits",
        "./digits",
        "../digits",
        "~/digits",
        "/data/digits",
        "a/b/c",
        "a//b",
        "a/",
        "",
        "a b/c",
        "ä/b",
        "a/b\n",
    ):
        assert not is_hub_name(path), path
    assert not is_hub_name(Path("someone/digits"))
    (tmp_path / "someone").mkdir()
    assert is_hub_name("someone/digits")
    (tmp_path / "someone" / "digits").write_bytes(b"")
    assert not is_hub_name("someone/digits")
    with pytest.raises(CheckpointError, match=r"^runs/mine/config\.json: no such file"):
        models.load(Path("runs/mine"))
