"""A golden answer beside a checkpoint: a few pictures, and what the weights make of them. A service compares before it serves.

Written by `python -m models.evaluate`, computed by torch in float32 on the CPU. Knows nothing of data sets or HTTP.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError
from models.files.tensor_file import Header
from models.sidecar import read_companion, write_companion
from models.vae import VAEConfig

GOLDEN = "golden.safetensors"
# of a value v: an answer may be TOLERANCE (1 + |v|) away. Other machines are 1e-5 away in float32, other weights 0.1 and more.
TOLERANCE = 1e-3
PICTURES = 4


class StaleGolden(CheckpointError):
    """A golden answer of other weights than those beside it."""


@dataclass(frozen=True)
class Golden:
    """Pictures and their answers. `tolerance`: see TOLERANCE."""

    x: NDArray[np.uint8]  # (N, C, H, W)
    mu: NDArray[np.float32]  # (N, D), as `sigma`
    sigma: NDArray[np.float32]
    mean: NDArray[np.float32]  # (N, C, H, W), of the likelihood at z = mu
    tolerance: float = TOLERANCE

    def difference(self, mu: NDArray[np.float32], sigma: NDArray[np.float32], mean: NDArray[np.float32], slack: float) -> str:
        """Where an answer is further away than `slack` times the tolerance; empty when it is not."""
        for name, found, wanted in (("mu", mu, self.mu), ("sigma", sigma, self.sigma), ("mean", mean, self.mean)):
            away = np.abs(found.astype(np.float64) - wanted) / (1 + np.abs(wanted))
            if not (away <= slack * self.tolerance).all():  # also where it is not a number
                return f"{name} is up to {np.nanmax(away, initial=0):.2g} away, {slack * self.tolerance:.2g} is allowed"
        return ""


def write_golden(directory: Path, checkpoint: Checkpoint, x: Tensor) -> None:
    """Write the answers to the first few pictures, uint8 (N, C, H, W), beside the checkpoint. Raises OSError."""
    vae, x = checkpoint.vae.cpu(), x[:PICTURES].cpu().contiguous()
    with torch.inference_mode():
        posterior = vae.encode(x)
        tensors = {"x": x, "mu": posterior.mu, "sigma": posterior.sigma, "mean": vae.decode(posterior.mu).mean}
    write_companion(directory / GOLDEN, tensors, checkpoint.digest, tolerance=str(TOLERANCE))


def read_golden(directory: Path, digest: str, config: VAEConfig) -> Golden | None:
    """The golden answer of a checkpoint with that digest; None when there is none.

    Raises StaleGolden when it is of another digest, CheckpointError for a defect.
    """
    path = directory / GOLDEN
    companion = read_companion(path, partial(_check_header, path, digest, config))
    if companion is None:
        return None
    arrays = {name: tensor.numpy() for name, tensor in companion.tensors.items()}
    return Golden(**arrays, tolerance=float(companion.said.get("tolerance", TOLERANCE)))


def _check_header(path: Path, digest: str, config: VAEConfig, header: Header) -> None:
    if header.metadata.get("digest") != digest:
        raise StaleGolden(f"{path} is of other weights; python -m models.evaluate {path.parent} makes it anew")
    try:
        tolerance = float(header.metadata.get("tolerance", TOLERANCE))
    except ValueError as error:
        raise CheckpointError(f"{path}: {str(error)[:200]}") from None
    _, shape = header.tensors.get("x", (None, ()))
    rows = shape[0] if shape else 0
    wanted = {
        "x": (torch.uint8, (rows, *config.shape)),
        "mu": (torch.float32, (rows, config.latent_dim)),
        "sigma": (torch.float32, (rows, config.latent_dim)),
        "mean": (torch.float32, (rows, *config.shape)),
    }
    if not 0 < rows <= PICTURES or header.tensors != wanted or not 0 < tolerance < 1:
        raise CheckpointError(f"{path}: these are no answers of a model of {config.shape} and {config.latent_dim} latents")
