"""The Gaussian mixture over latents that `/sample` draws from, and its file beside a checkpoint.

Knows nothing of how it is fitted (see `models.aggregate`), of networks or of HTTP.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.distributions import LOG_2PI
from models.files.plain_json import parse_json
from models.files.tensor_file import Header
from models.sidecar import Companion, read_companion, write_companion

PRIOR = "prior.safetensors"
# Most elements in one block of whitened differences, (N, K, D).
BLOCK_NUMBERS = 1 << 23


class StalePrior(CheckpointError):
    """The mixture was fitted to weights other than those beside it."""


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k weights_k N(means_k, scale_k scale_k^T); `scale` has Cholesky factors or standard deviations."""

    weights: Tensor  # (K,), positive, sum 1
    means: Tensor  # (K, D)
    scale: Tensor  # (K, D, D) lower triangular, or (K, D) when covariances are diagonal

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def latent_dim(self) -> int:
        """The size of a latent, D."""
        return self.means.shape[1]

    @property
    def covariance(self) -> str:
        """The kind of covariances: "full" or "diagonal"."""
        return "full" if self.scale.dim() == 3 else "diagonal"

    def component_log_prob(self, z: Tensor) -> Tensor:
        """Return log(weights_k N(z; k)) for every component: (..., D) -> (..., K)."""
        flat = z.reshape(-1, self.latent_dim)  # (N, D)
        if self.scale.dim() == 3:
            eye = torch.eye(self.latent_dim, dtype=self.scale.dtype, device=self.scale.device)
            whitener = torch.linalg.solve_triangular(self.scale, eye.expand_as(self.scale), upper=False)  # (K, D, D)
            log_scale = self.scale.diagonal(dim1=1, dim2=2).log().sum(1)  # (K,)
        else:
            whitener, log_scale = torch.diag_embed(1 / self.scale), self.scale.log().sum(1)
        offset = (whitener @ self.means[:, :, None]).squeeze(2)  # (K, D)
        constant = self.weights.log() - log_scale - 0.5 * self.latent_dim * LOG_2PI  # (K,)
        found = []
        for rows in flat.split(max(1, BLOCK_NUMBERS // offset.numel())):
            whitened = (rows @ whitener.flatten(0, 1).T).unflatten(1, offset.shape) - offset  # (n, K, D)
            found.append(constant - 0.5 * whitened.square().sum(2))
        return torch.cat(found).reshape(*z.shape[:-1], len(self))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats: (..., D) -> (...,)."""
        return self.component_log_prob(z).logsumexp(-1)

    def sample(self, eps: Tensor, uniform: Tensor) -> Tensor:
        """Return means_k + scale_k eps, with k from the inverse CDF of the weights: (N, D), (N,) in (0, 1) -> (N, D)."""
        k = torch.searchsorted(self.weights.cumsum(0)[:-1].contiguous(), uniform, right=True)
        scale = self.scale[k]
        moved = (scale @ eps[:, :, None]).squeeze(2) if scale.dim() == 3 else scale * eps
        return self.means[k] + moved

    def to(self, target: torch.device | torch.dtype) -> "GaussianMixture":
        """Return a copy on a device or in another precision."""
        return GaussianMixture(self.weights.to(target), self.means.to(target), self.scale.to(target))


@dataclass(frozen=True)
class ComponentLabels:
    """The label of each component of a mixture that was fitted label by label."""

    names: tuple[str, ...]  # all different, and each has a component
    index: Tensor  # int64 (K,), component -> place in `names`

    @classmethod
    def named(cls, labels: Tensor, classes: Sequence[str] | None) -> "ComponentLabels":
        """Return the labels of components, int64 (K,), by the names of the classes 0, 1, ..., else by their numbers."""
        known, index = labels.unique(return_inverse=True)
        named = classes is not None and known[0] >= 0 and known[-1] < len(classes) == len(set(classes))
        return cls(tuple(classes[i] if named and classes else str(i) for i in known.tolist()), index)


@dataclass(frozen=True)
class FittedPrior:
    """A mixture stored beside a checkpoint, a record of how it was fitted, and its labels if it was fitted label by label."""

    mixture: GaussianMixture
    fitted: dict[str, Any]
    labels: ComponentLabels | None = None

    def by_label(self) -> dict[str, GaussianMixture]:
        """Return p(z given the label) for each label: its components, with weights of sum 1; {} without labels."""
        if self.labels is None:
            return {}
        found = {}
        for i, name in enumerate(self.labels.names):
            own = self.labels.index == i
            weights = self.mixture.weights[own]
            found[name] = GaussianMixture(weights / weights.sum(), self.mixture.means[own], self.mixture.scale[own])
        return found


def write_prior(
    directory: Path, mixture: GaussianMixture, digest: str, fitted: dict[str, Any], labels: ComponentLabels | None = None
) -> None:
    """Write the mixture beside the checkpoint with that digest. `fitted` records how it was fitted. Raises OSError."""
    tensors = {
        "weights": mixture.weights.double() / mixture.weights.double().sum(),
        "means": mixture.means.float(),
        "scale": mixture.scale.float(),
    }
    said = {"fitted": json.dumps(fitted)}
    if labels is not None:
        tensors["labels"] = labels.index.long()
        said["labels"] = json.dumps(labels.names)
    write_companion(directory / PRIOR, tensors, digest, **said)


def read_prior(directory: Path, digest: str, latent_dim: int) -> FittedPrior | None:
    """Read the mixture beside a checkpoint, float64 on the CPU; return None if there is no file.

    Raises StalePrior if it was fitted to a checkpoint with another digest, CheckpointError for any other defect.
    """
    path = directory / PRIOR
    again = f"{path} was fitted to other weights; fit it again: python -m models.evaluate {directory} --fit-prior"
    companion = read_companion(path, digest, StalePrior(again), partial(_check_header, path, latent_dim))
    if companion is None:
        return None
    mixture = _checked(path, companion.tensors)
    try:
        fitted = parse_json(companion.said.get("fitted", "{}").encode())
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata 'fitted' is not JSON: {error}") from None
    if not isinstance(fitted, dict):
        raise CheckpointError(f"{path}: its metadata 'fitted' must be an object, not {short_repr(fitted)}")
    return FittedPrior(mixture, fitted, _labels(path, companion))


def _labels(path: Path, companion: Companion) -> ComponentLabels | None:
    """Return the labels of the components, None for a mixture that was fitted without them. Raises CheckpointError."""
    index = companion.tensors.get("labels")
    if index is None:
        return None
    try:
        names = parse_json(companion.said.get("labels", "").encode())
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata 'labels' is not JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise CheckpointError(f"{path}: its metadata 'labels' is not a list of different strings")
    if index.unique().tolist() != list(range(len(names))):
        raise CheckpointError(f"{path}: its tensor 'labels' must have every whole number from 0 to {len(names) - 1}")
    return ComponentLabels(tuple(names), index)


def _check_header(path: Path, latent_dim: int, header: Header) -> None:
    if header.tensors.keys() - {"labels"} != {"weights", "means", "scale"}:
        names = ", ".join(sorted(header.tensors)[:10])
        raise CheckpointError(f"{path}: has the tensors {names[:1000]}, should have means, scale, weights")
    weights, means, scale = (header.tensors[name][1] for name in ("weights", "means", "scale"))
    k = weights[0] if len(weights) == 1 else 0
    if not k or means != (k, latent_dim) or scale not in ((k, latent_dim, latent_dim), (k, latent_dim)):
        raise CheckpointError(
            f"{path}: shapes weights {weights}, means {means}, scale {scale} do not fit {latent_dim} latent dimensions"
        )
    if "labels" in header.tensors and header.tensors["labels"] != (torch.int64, (k,)):
        raise CheckpointError(f"{path}: labels is {header.tensors['labels']}, should be torch.int64 of shape ({k},)")
    for name, (dtype, _) in header.tensors.items():
        if name != "labels" and dtype not in (torch.float32, torch.float64):
            raise CheckpointError(f"{path}: {name} is {dtype}, should be torch.float32 or torch.float64")


def _checked(path: Path, tensors: dict[str, Tensor]) -> GaussianMixture:
    weights, means, scale = (tensors[name].double() for name in ("weights", "means", "scale"))
    if not all(bool(t.isfinite().all()) for t in (weights, means, scale)):
        raise CheckpointError(f"{path}: has values that are not finite")
    widths = scale.diagonal(dim1=1, dim2=2) if scale.dim() == 3 else scale
    if not (weights > 0).all() or not math.isclose(float(weights.sum()), 1, abs_tol=1e-6) or not (widths > 0).all():
        raise CheckpointError(f"{path}: weights must be positive with sum 1, and standard deviations positive")
    if scale.dim() == 3 and scale.triu(1).any():
        raise CheckpointError(f"{path}: scale must be lower triangular")
    return GaussianMixture(weights, means, scale)
