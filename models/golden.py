"""The golden answer beside a checkpoint: a few items and the model's outputs, which a service checks before it serves.

The items are also examples for whoever tries the model. Written by `python -m models.evaluate`, computed by torch in
float32 on the CPU. Knows nothing of data sets or HTTP.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError
from models.files.tensor_file import Header
from models.kinds import kind_of
from models.sidecar import read_companion, write_companion
from models.vae import VAEConfig

GOLDEN = "golden.safetensors"
# An output may differ from a value v by TOLERANCE (1 + |v|). Other machines differ by 1e-5 in float32, other weights by 0.1.
TOLERANCE = 1e-3
ITEMS = 10


class StaleGolden(CheckpointError):
    """The golden answer was made with weights other than those beside it."""


@dataclass(frozen=True)
class Golden:
    """Items and the model's outputs for them. `tolerance`: see TOLERANCE."""

    x: NDArray[Any]  # (N, ...), rows of the kind
    mu: NDArray[np.float32]  # (N, D); `sigma` too
    sigma: NDArray[np.float32]
    mean: NDArray[np.float32]  # (N, ...), mean of the likelihood at z = mu
    labels: NDArray[np.int64] | None = None  # (N,), what a conditional model is told
    tolerance: float = TOLERANCE

    def difference(self, mu: NDArray[np.float32], sigma: NDArray[np.float32], mean: NDArray[np.float32], slack: float) -> str:
        """Say which output differs by more than `slack` times the tolerance; return "" if none does."""
        for name, found, wanted in (("mu", mu, self.mu), ("sigma", sigma, self.sigma), ("mean", mean, self.mean)):
            away = np.abs(found.astype(np.float64) - wanted) / (1 + np.abs(wanted))
            if not (away <= slack * self.tolerance).all():  # NaN fails this comparison too.
                return f"{name} differs by up to {np.nanmax(away, initial=0):.2g}, {slack * self.tolerance:.2g} is allowed"
        return ""


def write_golden(
    directory: Path, checkpoint: Checkpoint, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None
) -> None:
    """Write the outputs for a few of the rows, (N, ...), beside the checkpoint. Raises OSError.

    `labels`, (N,): the first item of each label is among them, in the order of the labels. The others, or without labels
    all, are evenly spaced: items that are alike are often next to each other. `condition`, int64 (N,), is what a
    conditional model is told about them.
    """
    rows = _rows(len(x), labels)
    told = None if condition is None else condition[rows].cpu()
    vae, x = checkpoint.vae.cpu().given(told), x[rows].cpu().contiguous()
    with torch.inference_mode():
        posterior = vae.encode(x)
        tensors = {"x": x, "mu": posterior.mu, "sigma": posterior.sigma, "mean": vae.decode(posterior.mu).mean.float()}
        tensors |= {} if told is None else {"labels": told}
    write_companion(directory / GOLDEN, tensors, checkpoint.digest, tolerance=str(TOLERANCE))


def _rows(count: int, labels: Tensor | None) -> list[int]:
    first: dict[int, int] = {}
    for row, label in enumerate([] if labels is None else labels.tolist()):
        first.setdefault(label, row)
    rows = [first[label] for label in sorted(first)][:ITEMS]
    others = sorted(set(range(count)).difference(rows))
    more = min(ITEMS - len(rows), len(others))
    return rows + [others[i * len(others) // more] for i in range(more)]


def read_golden(directory: Path, digest: str, config: VAEConfig) -> Golden | None:
    """Read the golden answer of a checkpoint with that digest; return None if there is no file.

    Raises StaleGolden if it was made for another digest, CheckpointError for any other defect.
    """
    path = directory / GOLDEN
    again = f"{path} was made with other weights; make it again: python -m models.evaluate {directory}"
    companion = read_companion(path, digest, StaleGolden(again), partial(_check_header, path, config))
    if companion is None:
        return None
    arrays = {name: tensor.numpy() for name, tensor in companion.tensors.items()}
    if config.condition and not ((arrays["labels"] >= 0) & (arrays["labels"] < len(config.condition))).all():
        raise CheckpointError(f"{path}: has labels that the condition of the model does not have")
    return Golden(**arrays, tolerance=float(companion.said.get("tolerance", TOLERANCE)))


def _check_header(path: Path, config: VAEConfig, header: Header) -> None:
    stated = header.metadata.get("tolerance", str(TOLERANCE))
    try:
        tolerance = float(stated)
    except ValueError:
        raise CheckpointError(f"{path}: its metadata 'tolerance' must be a number, not {short_repr(stated)}") from None
    kind = kind_of(config.kind)
    _, shape = header.tensors.get("x", (None, ()))
    rows = shape[0] if shape else 0
    wanted = {
        "x": (getattr(torch, kind.row_dtype), (rows, *config.shape)),
        "mu": (torch.float32, (rows, config.latent_dim)),
        "sigma": (torch.float32, (rows, config.latent_dim)),
        "mean": (torch.float32, (rows, *kind.answer_shape(config.shape))),
    }
    if config.condition:
        wanted["labels"] = (torch.int64, (rows,))
    if not 0 < rows <= ITEMS or header.tensors != wanted or not 0 < tolerance < 1:
        raise CheckpointError(f"{path}: does not fit a model with shape {config.shape} and latent_dim {config.latent_dim}")
