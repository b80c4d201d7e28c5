"""The standard error of a mean over pictures that resemble each other, such as those of one block or group.

Such pictures are not independent draws, so that the error over pictures, which falls with their number, would be too small.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.kinds import KINDS
from models.kinds.kind import Kind
from models.readers.left_out import plural

KEY = "validation"  # where config.json has the record, in `data`
# An error that rests on fewer blocks or groups is itself uncertain: with 5 of them by a third.
FEW = 5


class Mean(NamedTuple):
    """A mean over pictures, its standard error (None: there is only one cluster), and the number of clusters."""

    value: float
    error: float | None
    clusters: int


def clustered(values: Tensor, clusters: Tensor | None = None) -> Mean:
    """Return the mean of values (N,) and its standard error over `clusters`, (N,) numbers; None: each value is one.

    The error is that of the means of K clusters, weighted by their sizes n_k: sqrt(K / (K - 1) sum (n_k / N)^2 (m_k - m)^2).
    With equal sizes it is the standard deviation of the means over sqrt(K) (Cochran 1977, Sampling Techniques, section 9).
    """
    values = values.detach().double().cpu()
    mean = values.mean()
    numbers = torch.arange(len(values)) if clusters is None else clusters.cpu().unique(return_inverse=True)[1]
    sums = torch.zeros(int(numbers.max()) + 1, dtype=torch.float64).index_add(0, numbers, values - mean)
    count = len(sums)
    error = None if count < 2 else float((count / (count - 1) * sums.square().sum()).sqrt()) / len(values)
    return Mean(float(mean), error, count)


def told_error(error: float | None, count: int, kind: str, of: Kind = KINDS["picture"]) -> str:
    """Return "+- 3.21 (standard error over 6 blocks)", and say so if they are few. `kind`: how items are held out."""
    over = plural(count, kind.removesuffix("s")) if kind in ("blocks", "group") else plural(count, of.noun, of.many)
    if error is None:
        return f"(without a standard error, because it rests on {over})"
    few = f", fewer than {FEW}, so that it is a rough guess" if count < FEW else ""
    return f"+- {error:.2f} (standard error over {over}{few})"


def record(elbo: float, error: float | None, clusters: Tensor) -> dict[str, Any]:
    """Return what a checkpoint records of its validation pictures, in blocks or groups `clusters`, (N,)."""
    count = len(clusters.unique())
    return {KEY: {"elbo": elbo, "standard_error": error, "pictures": len(clusters), "clusters": count}}


def told(data: Mapping[str, Any], of: Kind = KINDS["picture"]) -> str:
    """Return a line with the ELBO of the validation items and its error; `data` is that of a checkpoint's manifest.

    Earlier versions recorded nothing: "".
    """
    found = data.get(KEY)
    if not isinstance(found, dict):
        return ""
    kind = data.get("training", {}).get("validation_split", "random")
    return (
        f"validation: the ELBO of {plural(found['pictures'], of.noun, of.many)} is {found['elbo']:.2f} "
        f"{told_error(found['standard_error'], found['clusters'], kind, of)}"
    )
