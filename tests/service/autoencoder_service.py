"""A service of a small model of diffusers, "kl", and of the small checkpoint "grey" beside it; and what is sent to it."""

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from service.settings import Settings
from tests.autoencoders import save_autoencoder

# no test waits that long unless something hangs
PATIENCE = 60.0


def make_models(directory: Path, weights: Path) -> Path:
    """Write both models into a directory, and return it."""
    save_autoencoder(directory / "kl", scaling_factor=0.5)
    (directory / "grey").symlink_to(weights / "grey")
    return directory


def settings(directory: Path, store: Path, **more: Any) -> Settings:
    """Return settings of a service of the models in a directory."""
    return Settings(
        models_dir=directory, device="cpu", threads=1, max_batch=8, max_queue_rows=256, max_rows=128, store=str(store), **more
    )  # fmt: skip


def picture(height: int, width: int, seed: int = 0) -> bytes:
    """Return a PNG file of noise in colour."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(out, "png")
    return out.getvalue()


def text(file: bytes) -> str:
    """Return a file as it is written in JSON."""
    return base64.b64encode(file).decode()


def refusal(answer: httpx.Response, status: int = 422) -> str:
    """Return why a request was refused, with this status."""
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    return detail
