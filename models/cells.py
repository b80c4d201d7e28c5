"""The likelihood of a row of a table: Gaussian for numbers, Bernoulli for booleans, categorical for categories.

HI-VAE, Nazabal et al. 2020, arXiv:1807.03653. Missing cells are NaN in x and have no part in the likelihood (equation 2
there). Knows nothing of names or units; `models.kinds.table_likelihood` has the same formulae for arrays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from reprlib import repr as short_repr

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from models.nets.layers import check_cardinalities

LOG_2PI = math.log(2 * math.pi)


class Layout(nn.Module):
    """Where the parameters of each column are among the P of a row: mean and log sigma, one logit, or one per category.

    `cardinalities` has 0 for a number, 1 for a boolean, and the number of categories otherwise. All buffers are numbers of
    columns or places of parameters; they move with the module, and are not stored.
    """

    numbers: Tensor  # (n,) the columns that are numbers, ...
    means: Tensor  # (n,) ... and the places of their means; that of log sigma is the next one
    booleans: Tensor  # (b,)
    logits: Tensor  # (b,)
    categories: Tensor  # (c,)
    choices: Tensor  # (c, most) the places of the logits, the first one repeated where a column has fewer, ...
    absent: Tensor  # (c, most) ... and where that is so

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        sizes = [size or 2 for size in check_cardinalities(cardinalities)]
        places = [0, *accumulate(sizes)]
        self.columns, self.count = len(sizes), places.pop()
        numbers, booleans, categories = (
            [k for k, size in enumerate(cardinalities) if min(size, 2) == kind] for kind in range(3)
        )
        most = max((sizes[k] for k in categories), default=2)
        self._register("numbers", numbers)
        self._register("means", [places[k] for k in numbers])
        self._register("booleans", booleans)
        self._register("logits", [places[k] for k in booleans])
        self._register("categories", categories)
        choices = [[places[k] + (i if i < sizes[k] else 0) for i in range(most)] for k in categories]
        self._register("choices", choices, (len(categories), most))
        absent = torch.tensor([[i >= sizes[k] for i in range(most)] for k in categories], dtype=torch.bool)
        self.register_buffer("absent", absent.reshape(-1, most), persistent=False)

    def _register(self, name: str, values: Sequence[object], shape: tuple[int, ...] = (-1,)) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.long).reshape(shape), persistent=False)


@dataclass(frozen=True)
class Cells:
    """p(x given z) of the cells of rows. x is (B, K): standardised numbers, indices of categories, NaN where missing."""

    parameters: Tensor  # (B, P), see `Layout`: what the decoder of a table answers
    layout: Layout
    ends: Tensor | None = None  # (2, n): the range within which the means of numbers stay; None: any

    @property
    def mean(self) -> Tensor:
        """Return the mean of each number, within its range, and the most likely category, (B, K)."""
        numbers = self.parameters[:, self.layout.means]
        return self._rows(
            numbers if self.ends is None else numbers.clamp(self.ends[0], self.ends[1]),
            (self.parameters[:, self.layout.logits] > 0).to(self.parameters.dtype),
            self._choices().argmax(2).to(self.parameters.dtype),
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x given z) in nats per row, the sum over the cells that are not missing: (B, K) -> (B,)."""
        return self.log_prob_per_column(x).sum(1)

    def log_prob_per_column(self, x: Tensor) -> Tensor:
        """Return log p of each cell, 0 where it is missing: (B, K) -> (B, K). Those of numbers are densities."""
        layout, missing = self.layout, torch.isnan(x)
        known = torch.where(missing, torch.zeros_like(x), x)
        mean, log_sigma = self.parameters[:, layout.means], self.parameters[:, layout.means + 1]
        standard = (known[:, layout.numbers] - mean) * torch.exp(-log_sigma)
        logits = self.parameters[:, layout.logits]
        index = known[:, layout.categories].long()[..., None]
        found = self._rows(
            -0.5 * standard**2 - log_sigma - 0.5 * LOG_2PI,
            logsigmoid(torch.where(known[:, layout.booleans] > 0.5, logits, -logits)),
            torch.log_softmax(self._choices(), 2).gather(2, index)[..., 0],
        )
        return torch.where(missing, torch.zeros_like(found), found)

    def sample(self, eps: Tensor) -> Tensor:
        """Return a sample computed from standard normal noise: (B, K) -> (B, K)."""
        layout = self.layout
        mean, log_sigma = self.parameters[:, layout.means], self.parameters[:, layout.means + 1]
        u = torch.special.ndtr(eps)
        shares = torch.softmax(self._choices(), 2).cumsum(2)
        last = (~layout.absent).sum(1) - 1
        return self._rows(
            mean + torch.exp(log_sigma) * eps[:, layout.numbers],
            torch.lt(u[:, layout.booleans], torch.sigmoid(self.parameters[:, layout.logits])).to(mean.dtype),
            torch.minimum((u[:, layout.categories, None] > shares).sum(2), last).to(mean.dtype),
        )

    def _choices(self) -> Tensor:
        """Return the logits of the categories, (B, c, most), -inf where a column has fewer."""
        return self.parameters[:, self.layout.choices].masked_fill(self.layout.absent, -math.inf)

    def _rows(self, numbers: Tensor, booleans: Tensor, categories: Tensor) -> Tensor:
        """Return values of the columns of each type, in the order of the columns: (B, K)."""
        layout = self.layout
        places = torch.cat([layout.numbers, layout.booleans, layout.categories])
        values = torch.cat([numbers, booleans, categories], 1)
        return torch.zeros_like(values).index_copy(1, places, values)


class CellsLayer(nn.Module):
    """Turn the decoder's output, (B, P), into the likelihood of rows. Sigmas are never below `floors`, (K,).

    `ranges` has the smallest and the largest mean of each column, (K, 2); only those of numbers matter.

    A sigma without a floor would reward the model for the rounding of the data, see `models.distributions.SIGMA_FLOOR`.
    """

    floor: Tensor  # (P,) log of the smallest sigma, at the places of log sigma
    is_sigma: Tensor  # (P,)
    ends: Tensor | None  # (2, n)

    def __init__(
        self,
        cardinalities: Sequence[int],
        floors: Sequence[float],
        ranges: Sequence[Sequence[float]] | None = None,
        sigma: str = "column",
    ) -> None:
        super().__init__()
        self.layout = Layout(cardinalities)
        if not isinstance(floors, (list, tuple)) or len(floors) != len(cardinalities):
            raise ValueError(
                f"floors must be a list of {len(cardinalities)} numbers, one per column, not {short_repr(floors)}"
            )
        if not all(type(floor) in (int, float) and 1e-4 <= floor <= 1 for floor in floors):
            raise ValueError(f"floors must be numbers from 0.0001 to 1, not {short_repr(floors)}")
        if ranges is not None and not _are_ranges(ranges, len(cardinalities)):
            raise ValueError(f"ranges must be {len(cardinalities)} pairs of finite numbers, not {short_repr(ranges)}")
        if sigma not in ("column", "row"):
            raise ValueError(f"sigma must be 'column' or 'row', not {short_repr(sigma)}")
        self.sigma = sigma
        places = [(size, floor, i) for size, floor in zip(cardinalities, floors, strict=True) for i in range(size or 2)]
        is_sigma = [(size, i) == (0, 1) for size, _, i in places]
        floor = [math.log(floor) if there else 0.0 for (_, floor, _), there in zip(places, is_sigma, strict=True)]
        self.register_buffer("floor", torch.tensor(floor), persistent=False)
        own = [ranges[k] for k, size in enumerate(cardinalities) if not size] if ranges else []
        self.register_buffer("ends", torch.tensor(own, dtype=torch.float32).T.clone() if own else None, persistent=False)
        self.register_buffer("is_sigma", torch.tensor(is_sigma), persistent=False)
        if sigma == "column":
            self.log_sigma = nn.Parameter(torch.zeros(self.layout.count))

    def forward(self, output: Tensor) -> Cells:
        if output.shape[1:] != self.floor.shape:
            raise ValueError(
                f"the net answers {tuple(output.shape[1:])} per row, the likelihood takes {len(self.floor)} values"
            )
        log_sigma = output if self.sigma == "row" else self.log_sigma
        return Cells(torch.where(self.is_sigma, torch.maximum(log_sigma, self.floor), output), self.layout, self.ends)


def _are_ranges(ranges: object, count: int) -> bool:
    """Return whether these are pairs of finite numbers, the smaller one first."""
    return (
        isinstance(ranges, (list, tuple))
        and len(ranges) == count
        and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in ranges)
        and all(type(end) in (int, float) and math.isfinite(end) for pair in ranges for end in pair)
        and all(low <= high for low, high in ranges)
    )
