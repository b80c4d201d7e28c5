"""The README and the snapshots of weights in a run's directory.

Knows nothing of objectives or of the training loop.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import resource
except ImportError:  # pragma: no cover  Windows has no resource.
    resource = None  # type: ignore[assignment]

from models.files.atomic_file import write_atomically
from models.files.regular_file import read_regular

README = "README.md"
SNAPSHOTS = "snapshots"
MAX_SNAPSHOTS = 24
BLOCK = 1 << 24  # bytes that are hashed at a time
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "vae-service")

FILES = """
| file | content |
|---|---|
| `../config.json`, `../model.safetensors` | the checkpoint: the best weights so far, for `models.load` and the service |
| `metrics.jsonl` | one line of JSON per epoch, in nats per picture; the ELBO and its terms are always at beta = 1 |
| `samples-NNNN.png` | the same samples of the prior, decoded after epochs 1, 2, 4, 8, ... and the last |
| `snapshots/STEP.safetensors` | weights at log-spaced steps; `models.checkpoint.read_weights` loads them |
| `tensorboard/` | the same log for TensorBoard (with `--tensorboard`) |
| `state.safetensors` | everything that `--resume` needs: weights, averages, optimiser, generators, position, arguments |

In the log, `train` is the mean over the steps of the epoch, while the weights changed. `validation` is measured after the
epoch with the weights that are saved (averaged with `--ema`). `loss` is what was minimised, `beta` the weight of the KL in it,
`bound` the importance-weighted bound; `validation` has a `loss`, at the full weight of the KL, where it chooses the weights.
`skipped_steps` counts steps without effect, because their loss was not finite.
`images_per_second` counts the time of training steps only. `peak_memory_mb` is the memory of the process, or of torch's
tensors on a GPU.
"""


def snapshot_steps(steps: int) -> frozenset[int]:
    """Return 0 and up to 23 log-spaced steps from 1 to `steps`."""
    intervals = MAX_SNAPSHOTS - 2
    return frozenset({0, *(round(steps ** (i / intervals)) for i in range(intervals + 1))})


def snapshot_path(directory: Path, step: int) -> Path:
    """Return the path of the weights at this step."""
    return directory / SNAPSHOTS / f"{step:08d}.safetensors"


def data_digest(x: Tensor) -> str:
    """Return the SHA-256 (hexadecimal) of the shape, the type unless it is uint8, and the bytes of rows, (N, ...)."""
    kind = "" if x.dtype == torch.uint8 else str(x.dtype)
    digest = hashlib.sha256(f"{tuple(x.shape)}{kind}".encode())
    for block in x.split(max(1, BLOCK * len(x) // max(1, x.nbytes))):  # so that rows in a file are never all in memory
        digest.update(np.ascontiguousarray(block.cpu().numpy()).data)
    return digest.hexdigest()


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory in MB: of torch's tensors on a GPU, otherwise of the process; 0 where the system does not say."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    if resource is None:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # Unit of ru_maxrss in bytes.
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def explain(
    directory: Path,
    command: str,
    facts: Mapping[str, str],
    arguments: Mapping[str, Any],
    step: int,
    longer: str,
    worded: Callable[[str], str] = str,
) -> None:
    """Write README.md into a run's directory; a resumed run appends its command and versions. Raises OSError.

    `longer` says that the run got a longer schedule, "" if it did not. `worded` puts in the words of the kind.
    """
    path = directory / README
    packages = "; ".join([f"Python {platform.python_version()}", *(f"{name} {found}" for name, found in versions().items())])
    here = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if step and path.exists():
        resumed = f"Resumed after step {step}: `{command}` ({packages}; {here})"
        lines = [
            read_regular(path).decode().rstrip(),
            "",
            resumed,
            *(["", f"{longer[0].upper()}{longer[1:]}."] if longer else []),
            "",
        ]
    else:
        lines = [
            "# A training run of models.train",
            "",
            f"```sh\n{command}\n```",
            "",
            *(f"- {name}: {value}" for name, value in {**facts, "versions": packages, "machine": here}.items()),
            worded(FILES),
            f"All arguments:\n\n```json\n{json.dumps(dict(arguments), indent=2)}\n```",
            "",
        ]
    write_atomically(path, "\n".join(lines).encode(), durable=False)


def versions() -> dict[str, str]:
    """Return the versions of the packages that a run depends on, by name."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
