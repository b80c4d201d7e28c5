"""The computation that all peers share: the shipped weights on one thread, picture in, posterior out."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import models

WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "weights" / "mnist"
# For peers that batch: the same batch size as the service, and a short wait to fill a batch.
MAX_BATCH, WAIT_SECONDS = 64, 0.002

Posteriors = list[dict[str, list[float]]]


def load() -> models.VAE:
    """Load the model that all peers serve."""
    torch.set_num_threads(1)
    return models.load(WEIGHTS)


def pixels(image: str) -> NDArray[np.uint8]:
    """Decode a base64 picture to uint8 (1, H, W)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("L"))[None]


def encode(vae: models.VAE, pictures: list[NDArray[np.uint8]]) -> tuple[list[list[float]], list[list[float]]]:
    """Return (mu, sigma) of a batch of pictures."""
    mu, sigma = encode_arrays(vae, np.stack(pictures))
    return mu.tolist(), sigma.tolist()


def encode_arrays(vae: models.VAE, x: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (mu, sigma) of a batch of pictures (N, 1, H, W)."""
    with torch.inference_mode():
        posterior = vae.encode(torch.from_numpy(x))
    return posterior.mu.numpy(), posterior.sigma.numpy()


def posteriors(vae: models.VAE, pictures: list[NDArray[np.uint8]]) -> Posteriors:
    """Return the posterior of each picture of a batch, each as the response to a request with one picture."""
    return [{"mu": [mu], "sigma": [sigma]} for mu, sigma in zip(*encode(vae, pictures), strict=True)]
