"""The golden answer beside a checkpoint: what it holds, and what is no golden answer of these weights."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import models
from models import VAE, VAEConfig
from models.checkpoint import CheckpointError, read
from models.golden import GOLDEN, ITEMS, TOLERANCE, StaleGolden, read_golden, write_golden

SHIPPED = Path(models.__file__).parent / "weights"
CONFIG = VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})
X = torch.arange(6 * 64, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(6, 1, 8, 8)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkpoint with its golden answer."""
    torch.manual_seed(0)
    models.save(tmp_path, VAE(CONFIG))
    write_golden(tmp_path, read(tmp_path), X)
    return tmp_path


def test_it_is_what_the_weights_make_of_the_pictures(directory: Path) -> None:
    checkpoint = read(directory)
    golden = read_golden(directory, checkpoint.digest, CONFIG)
    assert golden is not None
    np.testing.assert_array_equal(golden.x, X[:ITEMS].numpy())
    with torch.inference_mode():
        posterior = checkpoint.vae.encode(X[:ITEMS])
        mean = checkpoint.vae.decode(posterior.mu).mean.numpy()
    mu, sigma = posterior.mu.numpy(), posterior.sigma.numpy()
    assert golden.difference(mu, sigma, mean, 1) == ""
    assert golden.difference(mu + np.float32(0.5 * TOLERANCE), sigma, mean, 1) == ""
    assert golden.difference(mu + np.float32(9 * TOLERANCE), sigma, mean, 10) == ""
    assert golden.difference(mu, sigma + np.float32(9 * TOLERANCE), mean, 1).startswith("sigma differs by up to ")
    assert golden.difference(mu, sigma, np.full_like(mean, np.nan), 1).startswith("mean differs by up to ")


def test_one_picture_of_each_label_is_there_and_others_are_spread(directory: Path) -> None:
    x = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 1, 8, 8).contiguous()
    checkpoint = read(directory)
    for labels, wanted in (
        (None, range(0, 40, 4)),
        (torch.tensor([2, 2, 0, 1] * 10), [2, 3, 0, 1, 8, 13, 18, 24, 29, 34]),
        (torch.arange(39, -1, -1), range(39, 29, -1)),
    ):
        write_golden(directory, checkpoint, x, labels)
        golden = read_golden(directory, checkpoint.digest, CONFIG)
        assert golden is not None
        assert golden.x[:, 0, 0, 0].tolist() == list(wanted)


def test_the_digest_stays(directory: Path) -> None:
    before = read(directory).digest
    (directory / GOLDEN).unlink()
    assert read(directory).digest == before
    assert read_golden(directory, before, CONFIG) is None


def test_one_of_other_weights_is_stale(directory: Path) -> None:
    torch.manual_seed(1)
    models.save(directory, VAE(CONFIG))
    with pytest.raises(StaleGolden, match=r"golden\.safetensors was made with other weights"):
        read_golden(directory, read(directory).digest, CONFIG)


@pytest.mark.parametrize(
    "how", ["truncated", "empty", "of another shape", "of another type", "without mu", "of another version"]
)
def test_a_defect_is_named_with_its_file(directory: Path, how: str) -> None:
    path, digest = directory / GOLDEN, read(directory).digest
    tensors = safetensors.torch.load_file(path)
    metadata = {"format_version": "1", "digest": digest}
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        if how == "of another shape":
            tensors["mu"] = tensors["mu"][:, :2].contiguous()
        elif how == "of another type":
            tensors["mean"] = tensors["mean"].double()
        elif how == "without mu":
            del tensors["mu"]
        else:
            metadata["format_version"] = "2"
        path.write_bytes(safetensors.torch.save(tensors, metadata))
    with pytest.raises(CheckpointError, match=r"golden\.safetensors"):
        read_golden(directory, digest, CONFIG)


@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.iterdir()))
def test_the_shipped_models_give_theirs(name: str) -> None:
    directory = SHIPPED / name
    checkpoint = read(directory)
    golden = read_golden(directory, checkpoint.digest, checkpoint.vae.config)
    assert golden is not None
    with torch.inference_mode():
        told = checkpoint.vae.given(None if golden.labels is None else torch.from_numpy(golden.labels))
        posterior = told.encode(torch.from_numpy(golden.x))
        mean = told.decode(posterior.mu).mean.numpy()
    assert golden.difference(posterior.mu.numpy(), posterior.sigma.numpy(), mean, 0.1) == ""
