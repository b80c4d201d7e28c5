"""What is usual for a model: scores of held-out pictures and posteriors of training pictures, in a file beside the weights.

A p-value compares a picture with pictures that the net never trained on. Knows nothing of networks, data sets or HTTP.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint import CheckpointError
from models.files.plain_json import parse_json
from models.files.tensor_file import Header
from models.scores import UNITS, Array, TrainingLatents, conformal_p, unusual
from models.sidecar import Companion, read_companion, write_companion

CALIBRATION = "calibration.safetensors"
# Follows the command that makes a calibration, wherever it is named.
OF_OTHERS = "(and --data DATA, if the model was not trained by models.train)"
# Most training latents in the file: /score compares every picture with each of them.
MOST_LATENTS = 10_000
MOST_HELD_OUT = 1_000_000
SAID = ("bandwidth", "default", "label_names", "record")  # the keys of the metadata 'calibration'
HELD_OUT = "held_out."  # the prefix of the tensors of held-out scores


class StaleCalibration(CheckpointError):
    """The calibration was made with weights other than those beside it."""


@dataclass(frozen=True)
class Calibration:
    """Posteriors of training pictures, and the sorted scores of held-out ones.

    `held_out` has the values of each score, so that larger is more unusual (`models.scores.unusual`). `smallest` has, for each
    held-out picture, the smallest of its p-values among the scores of `default`. `record` says how everything was chosen.
    """

    mu: NDArray[np.float32]  # (M, D)
    sigma: NDArray[np.float32]  # (M, D)
    bandwidth: float
    default: tuple[str, ...]
    held_out: Mapping[str, Array]  # name -> (n,), sorted
    smallest: Array  # (n,), sorted
    labels: NDArray[np.int64] | None = None  # (M,), places in `label_names`
    label_names: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def latents(self) -> TrainingLatents:
        """The training posteriors, ready for `knn` and `density`."""
        return TrainingLatents(self.mu, self.sigma, self.bandwidth)

    def p_values(self, scores: Mapping[str, Array]) -> dict[str, Array]:
        """Return the p-values of scores as they are reported, each (N,); scores that were not calibrated are left out."""
        return {
            name: conformal_p(self.held_out[name], unusual(name, values))
            for name, values in scores.items()
            if name in self.held_out
        }

    @property
    def least(self) -> float:
        """The smallest p-value that `overall` can give: that of an item which is more unusual than all by each score."""
        return float(self.overall({name: np.array([1 / (len(self.held_out[name]) + 1)]) for name in self.default})[0])

    def overall(self, p_values: Mapping[str, Array]) -> Array:
        """Return one p-value per item, (N,), from those of the default scores: their smallest, calibrated again.

        The smallest of several p-values is small too often (it is not uniform), so it is ranked among the smallest p-values of
        the held-out pictures. A single one is uniform already, and stays as it is. Raises KeyError if a default score is
        missing.
        """
        if len(self.default) == 1:
            return p_values[self.default[0]]
        smallest = np.min([p_values[name] for name in self.default], axis=0)
        return conformal_p(-self.smallest[::-1], -smallest)


def smallest_p(held_out: Mapping[str, Array]) -> Array:
    """Return the smallest p-value of each held-out picture, sorted (n,), from unsorted scores by name, (n,) each.

    A picture's p-value is its rank / (n + 1) among the held-out ones, itself included: the least that it would be if one more
    picture joined them. So `Calibration.overall` is never too small: P(p <= a) <= a holds for it, too.
    """
    count = len(next(iter(held_out.values())))
    ranks = [count - np.searchsorted(np.sort(values), values, side="left") for values in held_out.values()]
    return np.sort(np.min(ranks, axis=0) / (count + 1))


def write_calibration(directory: Path, calibration: Calibration, digest: str) -> None:
    """Write the file beside the checkpoint with that digest, atomically. Raises OSError.

    The posteriors are stored as float16: use `rounded` before the held-out scores are computed.
    """
    tensors = {
        "mu": torch.from_numpy(calibration.mu.astype(np.float16)),
        "sigma": torch.from_numpy(calibration.sigma.astype(np.float16)),
        "smallest": torch.from_numpy(calibration.smallest.astype(np.float64)),
        **{HELD_OUT + name: torch.from_numpy(np.array(values, np.float64)) for name, values in calibration.held_out.items()},
    }
    if calibration.labels is not None:
        tensors["labels"] = torch.from_numpy(calibration.labels.astype(np.int32))
    said = {
        "bandwidth": calibration.bandwidth,
        "default": calibration.default,
        "label_names": calibration.label_names,
        "record": dict(calibration.record),
    }
    write_companion(directory / CALIBRATION, tensors, digest, calibration=json.dumps(said))


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values as the file stores them, with 11 bits: the error is at most 0.05 %, far below the bandwidth."""
    return values.astype(np.float16).astype(np.float32)


def read_calibration(directory: Path, digest: str, latent_dim: int) -> Calibration | None:
    """Read the calibration beside a checkpoint; return None if there is no file.

    Raises StaleCalibration if it belongs to a checkpoint with another digest, CheckpointError for any other defect.
    """
    path = directory / CALIBRATION
    again = f"{path} was made with other weights; make it again: python -m models.evaluate {directory} --calibrate {OF_OTHERS}"
    companion = read_companion(path, digest, StaleCalibration(again), partial(_check_header, path, latent_dim))
    return None if companion is None else _checked(path, companion)


def _check_header(path: Path, latent_dim: int, header: Header) -> None:
    """Raise CheckpointError for tensors that a calibration does not have, before any of them is allocated."""
    found = dict(header.tensors)
    for name in ("mu", "sigma"):
        dtype, shape = found.pop(name, (None, ()))
        if dtype != torch.float16 or len(shape) != 2 or shape[1] != latent_dim or not 1 <= shape[0] <= MOST_LATENTS:
            raise CheckpointError(
                f"{path}: {name} is {dtype} {shape}, should be torch.float16, 1 to {MOST_LATENTS} rows of {latent_dim}"
            )
    count = header.tensors["mu"][1][0]
    if header.tensors["sigma"][1][0] != count:
        raise CheckpointError(f"{path}: mu has {count} rows, sigma {header.tensors['sigma'][1][0]}")
    if found.pop("labels", (torch.int32, (count,))) != (torch.int32, (count,)):
        raise CheckpointError(f"{path}: labels is {header.tensors['labels']}, should be torch.int32 of shape ({count},)")
    known = {HELD_OUT + name for name in UNITS} | {"smallest"}
    if "smallest" not in found or found.keys() - known:
        names = ", ".join(sorted(header.tensors)[:10])
        raise CheckpointError(
            f"{path}: has the tensors {names[:1000]}, should have mu, sigma, smallest, perhaps labels, and "
            f"{HELD_OUT}NAME with a NAME out of {', '.join(UNITS)}"
        )
    for name, (dtype, shape) in found.items():
        if dtype != torch.float64 or len(shape) != 1 or not 1 <= shape[0] <= MOST_HELD_OUT:
            raise CheckpointError(
                f"{path}: {name} is {dtype} {shape}, should be torch.float64 of 1 to {MOST_HELD_OUT} numbers"
            )


def _checked(path: Path, companion: Companion) -> Calibration:
    tensors = {name: tensor.numpy() for name, tensor in companion.tensors.items()}
    try:
        said = parse_json(companion.said.get("calibration", "").encode())
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata 'calibration' is not JSON: {error}"[:500]) from None
    if not isinstance(said, dict):
        raise CheckpointError(f"{path}: its metadata 'calibration' must be an object, not {short_repr(said)}")
    if missing := [name for name in SAID if name not in said]:
        raise CheckpointError(f"{path}: its metadata 'calibration' lacks {', '.join(map(repr, missing))}")
    bandwidth, default, names, record = (said[name] for name in SAID)
    held_out = {name.removeprefix(HELD_OUT): tensors[name] for name in tensors if name.startswith(HELD_OUT)}
    if type(bandwidth) not in (int, float) or not 0 < bandwidth < math.inf:
        raise CheckpointError(f"{path}: the bandwidth must be a positive number, not {str(bandwidth)[:100]}")
    if not isinstance(default, list) or not 1 <= len(default) == len(set(map(str, default))) <= len(held_out):
        raise CheckpointError(f"{path}: 'default' must be a list of different scores, not {str(default)[:200]}")
    if not all(isinstance(name, str) and name in held_out for name in default):
        raise CheckpointError(f"{path}: a default score has no held-out values: {str(default)[:200]}")
    if not isinstance(record, dict) or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: 'record' must be an object, and 'label_names' a list of strings")
    for name in ("mu", "sigma"):
        if not np.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
    if (tensors["sigma"] < 0).any():
        raise CheckpointError(f"{path}: sigma has negative values")
    for name, values in (*held_out.items(), ("smallest", tensors["smallest"])):
        if not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise CheckpointError(f"{path}: {name} must be finite and sorted")
    labels = tensors.get("labels")
    if labels is not None and ((labels < 0).any() or (labels >= len(names)).any()):
        raise CheckpointError(f"{path}: labels must be from 0 to {len(names) - 1}, the places of the {len(names)} label_names")
    return Calibration(
        tensors["mu"].astype(np.float32),
        tensors["sigma"].astype(np.float32),
        float(bandwidth),
        tuple(default),
        held_out,
        tensors["smallest"],
        None if labels is None else labels.astype(np.int64),
        tuple(names),
        record,
    )
