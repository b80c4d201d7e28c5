"""The files of weights as people have them: shards with an index, pickles, and others; what must not be read is refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

import models
from models.checkpoint import CheckpointError, read
from models.diffusers_weights import INDEX, WEIGHTS
from tests.autoencoders import autoencoder, save_autoencoder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A checkpoint in several shards, as diffusers writes it."""
    autoencoder().save_pretrained(tmp_path / "kl", max_shard_size="20KB")
    assert (tmp_path / "kl" / INDEX).exists()
    assert not (tmp_path / "kl" / WEIGHTS).exists()
    return tmp_path / "kl"


def listed(path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((path / INDEX).read_text())["weight_map"]
    return found


def test_shards_are_read_as_one_file_is(shards: Path, tmp_path: Path) -> None:
    assert len(set(listed(shards).values())) > 2
    save_autoencoder(tmp_path / "whole")
    found, whole = read(shards), read(tmp_path / "whole")
    for name, tensor in whole.vae.state_dict().items():
        assert torch.equal(found.vae.state_dict()[name], tensor)
    digests = {found.digest, whole.digest}
    for file in sorted(shards.glob("*.safetensors")):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        digests.add(read(shards).digest)
    assert len(digests) == 2 + len(set(listed(shards).values()))  # it is about every file


def test_shards_in_half_precision(tmp_path: Path) -> None:
    autoencoder().half().save_pretrained(tmp_path, max_shard_size="10KB", variant="fp16")
    assert not (tmp_path / WEIGHTS).exists()
    assert {parameter.dtype for parameter in models.load(tmp_path).parameters()} == {torch.float32}


def change_index(path: Path, change: Callable[[dict[str, str]], object]) -> None:
    places = listed(path)
    change(places)
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "model.safetensors", "", 7, None])
def test_shards_are_files_of_the_folder(shards: Path, name: Any) -> None:
    first = next(iter(listed(shards)))
    change_index(shards, lambda places: places.update({first: name}))
    with pytest.raises(
        CheckpointError, match=re.escape(f"{INDEX}: {first} is in {name!r}, but shards are files beside the index")
    ):
        read(shards)


def test_links_of_shards_stay_in_the_folder(shards: Path, tmp_path: Path) -> None:
    shard = sorted(shards.glob("*.safetensors"))[0]
    shard.rename(shards / "inside")
    shard.symlink_to("inside")
    read(shards)
    (shards / "inside").rename(tmp_path / "outside")
    shard.unlink()
    shard.symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="is a link to a file elsewhere; shards must be in the folder itself"):
        read(shards)


def test_shards_that_do_not_fit_their_index(shards: Path) -> None:
    places = listed(shards)
    one, other = (next(tensor for tensor, name in places.items() if name == file) for file in sorted(set(places.values()))[:2])
    for change, message in (
        (lambda found: found.update({one: places[other]}), "has other tensors than"),
        (lambda found: found.pop(one), f"has other tensors than {INDEX} says, such as {one}"),
        (lambda found: found.update(more=places[one]), "such as more"),
        (lambda found: found.clear(), "has no weight_map"),
        (
            lambda found: found.update({f"t{i}": f"diffusion_pytorch_model-{i:05}-of-00200.safetensors" for i in range(200)}),
            "at most 100 are read",
        ),
    ):
        (shards / INDEX).write_text(json.dumps({"weight_map": places}))
        change_index(shards, change)
        with pytest.raises(CheckpointError, match=message):
            read(shards)
    for content, message in ((b"{", "not JSON"), (b"[]", "has no weight_map"), (b'{"weight_map": 3}', "has no weight_map")):
        (shards / INDEX).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read(shards)
    (shards / INDEX).write_text(json.dumps({"weight_map": places}))
    (shards / places[one]).unlink()
    with pytest.raises(CheckpointError, match=f"no such file, but {INDEX} lists it: download it too"):
        read(shards)


def test_a_pickle_is_not_read_and_can_be_converted_as_the_message_says(tmp_path: Path) -> None:
    save_autoencoder(tmp_path / "whole")
    for name in ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin", "vae.ckpt"):
        path = tmp_path / name
        shutil.copytree(tmp_path / "whole", path)
        (path / WEIGHTS).unlink()
        torch.save(autoencoder().state_dict(), path / name)
        with pytest.raises(CheckpointError, match=rf"{name}: is a pickle.*use_safetensors=False\).save_pretrained"):
            read(path)
    kind: Any = AutoencoderKL
    old = tmp_path / "diffusion_pytorch_model.bin"
    kind.from_pretrained(old, use_safetensors=False).save_pretrained(tmp_path / "new")
    assert torch.equal(*(read(tmp_path / name).vae.encode(torch.zeros(1, 3, 16, 16)).mu for name in ("new", "whole")))


def test_weights_of_another_name_are_named(tmp_path: Path) -> None:
    save_autoencoder(tmp_path)
    (tmp_path / WEIGHTS).rename(tmp_path / "diffusion_pytorch_model.non_ema.safetensors")
    with pytest.raises(CheckpointError, match=r"There are other weights, diffusion_pytorch_model.non_ema.safetensors: rename"):
        read(tmp_path)
    (tmp_path / "diffusion_pytorch_model.non_ema.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"no such file; a checkpoint of diffusers is a directory with it and config.json$"
    ):
        read(tmp_path)
