"""Warnings about pictures that were encoded although they cannot be right: blank, clipped, cut, on another scale, unusual.

Every encoded picture comes through here, so finding nothing takes about a microsecond. Knows nothing of HTTP.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.depth import Note
from models.ink import CONTRADICTS, blank_note, contradicts
from models.kl_range import KlRange
from models.preprocess import Preprocessing
from models.scores import unusual


class PictureWarning(NamedTuple):
    """What a caller should know about one picture of a request. `code` is a stable word."""

    item: int
    code: str
    detail: str


class Warnings:
    """The warnings about the pictures of one request, in the order in which they are found."""

    __slots__ = ("_contradicting", "found")

    def __init__(self) -> None:
        self.found: list[PictureWarning] = []
        self._contradicting: list[int] = []  # pictures that contradict the model's ink, which their padding hides

    def clear(self) -> None:
        """Forget everything, before other pictures are encoded."""
        if self.found or self._contradicting:
            self.found, self._contradicting = [], []

    def add(self, item: int, code: str, detail: str) -> None:
        """Add a warning about one item."""
        self.found.append(PictureWarning(item, code, detail))

    def add_notes(self, item: int, notes: Sequence[Note]) -> None:
        """Add what decoding a picture has found."""
        for code, detail in notes:
            if code != CONTRADICTS:
                self.found.append(PictureWarning(item, code, detail))
            else:
                self._contradicting.append(item)

    def add_blank(self, pixels: NDArray[Any], item: int) -> None:
        """Look at a picture (C, H, W) that was not decoded by Pillow."""
        if is_flat(pixels) and (note := blank_note(pixels)):
            self.add_notes(item, [note])

    def contradicts(self, item: int, pixels: NDArray[Any], spec: Preprocessing) -> bool:
        """Return whether a picture looks inverted: dark on light where the model's are light on dark, or the reverse."""
        return item in self._contradicting or contradicts(pixels, spec.ink)

    def json(self) -> list[dict[str, Any]]:
        """Return the warnings in the order of their items, as answers in JSON have them."""
        return [warning._asdict() for warning in sorted(self.found, key=lambda warning: warning.item)]

    def renumbered(self, items: Sequence[int]) -> None:
        """Give each warning the item that its picture belongs to: `items[i]` for picture i."""
        self.found = [warning._replace(item=items[warning.item]) for warning in self.found]


def is_flat(pixels: NDArray[Any]) -> bool:
    """Return whether the first channel of a picture (C, H, W) has a single value."""
    data: bytes = pixels[0].tobytes()
    value = data[: pixels.itemsize]
    return data == value * (len(data) // len(value))


def perhaps_flat(block: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pictures (N, C, H, W) have a single value in a line in their middle: `is_flat` is true for no others."""
    line = block[:, 0, block.shape[2] // 2]
    found: NDArray[np.bool_] = (line == line[:, :1]).all(1)
    return found


class KlCheck:
    """Finds posteriors whose KL is far outside of that of the model's test pictures, or above it if they look inverted."""

    def __init__(self, kl_range: KlRange, dim: int, calibration: Calibration | None = None) -> None:
        """Take the usual KL of posteriors of `dim` dimensions, and what else is usual, which only `warn` looks at."""
        self._range, self._dim = kl_range, dim
        self._usual = calibration if calibration is not None and "knn" in calibration.held_out else None
        self._low, self._high = kl_range.limits
        # Float32 sums in this narrower range surely need no warning. Everything else is computed in float64.
        margin = 0.01 * (self._high - self._low)
        # KL = (sum(mu^2 + sigma^2) - sum(logvar) - D) / 2; these are limits of the two sums.
        self._sure = 2 * (self._low + margin) + dim, 2 * (kl_range.high - margin) + dim
        self._ones = np.ones(dim, np.float32)

    @property
    def warning_bytes(self) -> int:
        """How long `warn` takes at most, as the number of bytes that `Offload` wants."""
        return 12_800 if self._usual is None else 12_800 + self._usual.mu.nbytes // 16

    def suspects(self, rows: NDArray[np.float32]) -> Sequence[int]:
        """Return which of some posteriors, rows (n, 3, D) of mu, sigma, logvar, `warn` must look at: few or none."""
        low, high = self._sure
        if len(rows) == 1:
            flat, both = rows.ravel(), 2 * self._dim
            squares = flat[:both]
            return () if low <= squares.dot(squares) - flat[both:].dot(self._ones) <= high else (0,)
        sums = np.einsum("npd,npd->n", rows[:, :2], rows[:, :2]) - rows[:, 2] @ self._ones
        found: list[int] = np.flatnonzero(~((sums >= low) & (sums <= high))).tolist()
        return found

    def warn(
        self, row: NDArray[np.float32], pixels: NDArray[Any] | None, item: int, spec: Preprocessing | None, to: Warnings
    ) -> None:
        """Add a warning if a posterior, (3, D), is unusual. `pixels`: its picture (C, H, W), None for another kind."""
        mu, sigma, logvar = row.astype(np.float64)
        nats = float(0.5 * (mu * mu + sigma * sigma - 1 - logvar).sum())
        if self._low <= nats <= self._range.high:
            return
        # Half of the inverted pictures of clothes are not far outside, but nearly all test pictures are below.
        inverted = pixels is not None and spec is not None and to.contradicts(item, pixels, spec)
        if self._low <= nats <= self._high and not inverted:
            return
        other = "no" if spec is not None and spec.invert == "yes" else "yes"
        hint = f". The picture looks inverted: try invert={other}" if inverted else ""
        what, many = ("picture", "pictures") if pixels is not None else ("item", "items")
        usual = f"the model's test {many} have {_nats(self._range.low)} to {_nats(self._range.high)}"
        detail = f"The KL of this {what} is {_nats(nats)} nats; {usual}{self._distance(mu, many)}{hint}"
        to.found.append(PictureWarning(item, "unusual", detail))

    def _distance(self, mu: NDArray[np.float64], many: str) -> str:
        """Return how far a latent, (D,), is from the training pictures, in the words of the calibration; "" without one."""
        if self._usual is None or not np.isfinite(mu).all():
            return ""
        held_out = self._usual.held_out["knn"]
        nearer = int(np.searchsorted(held_out, unusual("knn", self._usual.latents.knn_distance(mu[None])))[0])
        count = f"{len(held_out):,} held-out {many}"
        # Rounded down: only what is farther than all of them is called so.
        share = (
            f"all {count}" if nearer == len(held_out) else f"{np.floor(1000 * nearer / len(held_out)) / 10:.1f} % of {count}"
        )
        return f". In latent space it is farther from the training {many} than {share}"


def _nats(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"
