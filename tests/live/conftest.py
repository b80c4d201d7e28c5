"""One running service for all tests of this directory, real digits, and models beside the shipped ones."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import models

from .pictures import Pixels, encoded
from .server import ROOT, WEIGHTS, Server, serving


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--corpus", type=Path, help="directory of picture files of any kind, for the soak test of tests/live")
    parser.addoption("--seconds", type=float, help="how long the soak test of mixed load lasts, ten minutes otherwise")


@pytest.fixture(scope="session")
def digits() -> Pixels:
    """Real digits, (256, 28, 28)."""
    with np.load(ROOT / "tests" / "data" / "digits.npz") as arrays:
        images: Pixels = arrays["images"]
    return images


@pytest.fixture(scope="session")
def pngs(digits: Pixels) -> list[bytes]:
    """The same as PNG files."""
    return [encoded(digit) for digit in digits]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped models, and `tiny-rgb`: 9 x 7 pixels of 3 channels, 3 latents, random weights."""
    directory = tmp_path_factory.mktemp("models")
    for name in ("mnist", "fashion-mnist", "mnist-2d"):
        (directory / name).symlink_to(WEIGHTS / name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models.save(directory / "tiny-rgb", models.VAE(models.VAEConfig((3, 9, 7), 3, "mlp", {"hidden": [16]})))
    return directory


@pytest.fixture(scope="session")
def server(models_dir: Path) -> Iterator[Server]:
    """A service of all these models. It must end with status 0 on SIGTERM."""
    # Tests stop its decoders, and how long they stand still depends on the machine: that is time of the picture, too.
    with serving("--models-dir", str(models_dir), "--decode-seconds", "600") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of it with a connection of its own."""
    with httpx.Client(base_url=server.url, timeout=60) as one:
        yield one


@pytest.fixture(scope="session")
def vae(models_dir: Path) -> Callable[[str], models.VAE]:
    """A model by its name, as a notebook loads it."""
    return lambda name: models.load(models_dir / name)


@pytest.fixture(scope="session")
def posterior(vae: Callable[[str], models.VAE]) -> Callable[[str, Any], tuple[Any, Any]]:
    """(name, x uint8 or float (N, C, H, W)) -> mu, sigma (N, D) without the service."""

    def of(name: str, x: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            q = vae(name).encode(torch.from_numpy(np.array(x)))
        return q.mu.numpy(), q.sigma.numpy()

    return of


@pytest.fixture(scope="session")
def means(vae: Callable[[str], models.VAE]) -> Callable[[str, Any], Any]:
    """(name, z (N, D)) -> means of the likelihood, (N, H, W, C), without the service."""

    def of(name: str, z: Any) -> Any:
        with torch.inference_mode():
            return vae(name).decode(torch.from_numpy(np.asarray(z, np.float32))).mean.permute(0, 2, 3, 1).numpy()

    return of
