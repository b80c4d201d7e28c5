"""The interface of a kind: what a model is about, such as pictures or rows of a table.

A kind turns raw data into rows (arrays of one shape, as training and the engine hold them), rows into the x of the net, and
what a decoder gives into raw data again. Knows nothing of nets, training, files or HTTP.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Shape = tuple[int, ...]


class Preprocessing(Protocol):
    """How raw data become rows; stored as `preprocessing` in config.json. Its constructor raises ValueError."""

    @property
    def shape(self) -> Shape:
        """Return the shape of a row."""

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds: the arguments of the constructor."""


class Kind(ABC):
    """One kind of data. There is one instance of each, in `KINDS`."""

    name: ClassVar[str]  # as config.json has it
    one: ClassVar[str]  # for messages: "a picture"
    many: ClassVar[str]  # "pictures"
    nets: ClassVar[frozenset[str]]  # the architectures that fit
    likelihoods: ClassVar[frozenset[str]]  # the likelihoods that fit
    priors: ClassVar[frozenset[str]] = frozenset(("standard",))  # the priors that fit
    row_dtype: ClassVar[str]  # numpy's name of the type of rows
    density: ClassVar[bool] = True  # whether log p(x given z) is that of a density, not of a probability
    comparable: ClassVar[bool] = False  # whether near copies can be found; otherwise only equal rows are copies
    labels_from: ClassVar[str] = "labels in the data"  # how the user gives labels, for advice
    columns: ClassVar[int] = 16  # how many items a row of a mosaic has, so that they stay large enough to be read
    sequential: ClassVar[bool] = False  # whether a decoder makes the data step by step, each step from the ones before

    @property
    def noun(self) -> str:
        """Return the word for one item, without an article."""
        return self.one.partition(" ")[2]

    def worded(self, text: str) -> str:
        """Return a sentence of shared code about pictures with the words of this kind."""
        for words, other in (
            ("pixel sigma", "sigma"),
            (" (not binarised)", ""),
            ("pictures", self.many),
            ("picture", self.noun),
        ):
            text = text.replace(words, other)
        return text

    @abstractmethod
    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError if rows cannot have this shape."""

    @abstractmethod
    def preprocessing(self, **stored: Any) -> Preprocessing:
        """Return the preprocessing that config.json holds. Raises ValueError."""

    @abstractmethod
    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        """Return the preprocessing of a model that was saved without one. Raises ValueError if this kind has no default."""

    def check_preprocessing(self, spec: Any, options: Mapping[str, Any]) -> None:  # noqa: B027  Pictures have nothing to check.
        """Raise ValueError if the options of the net do not fit the preprocessing. Their shapes are the same already."""

    def fits(self, found: Shape, shape: Shape) -> bool:
        """Return whether a row of the shape `found` suits a model whose rows have `shape`."""
        return found == shape

    @abstractmethod
    def to_x(self, rows: "Tensor") -> "Tensor":
        """Return the x of the net for rows, (B, ...) -> (B, ...): float32, or int64 for tokens. What is x already stays so."""

    def lengths(self, rows: "Tensor") -> "Tensor | None":
        """Return how many steps each row has before its end, int64 (N,); None if rows are no sequences."""
        return None

    def cut(self, rows: "Tensor") -> "Tensor":
        """Return a batch, rows or x, without what none of its items needs: sequences are cut to the longest one."""
        return rows

    def compared(self, rows: "Tensor") -> "Tensor":
        """Return what near copies are found by, if the kind is `comparable`: (N, ...) -> float (N, F)."""
        raise NotImplementedError(f"only equal {self.many} are copies")

    def answer_shape(self, shape: Shape) -> Shape:
        """Return the shape of what a decoder answers for one item, the mean of the likelihood."""
        return shape

    @abstractmethod
    def pictures(self, items: "NDArray[Any]", spec: Any) -> "NDArray[np.uint8]":
        """Return what items look like: rows, or what a decoder answers, (N, ...) -> uint8 (N, H, W, C), C = 1 or 3.

        `spec` is the preprocessing of the model.
        """

    def check_parts(self, net: str, likelihood: str, prior: str) -> None:
        """Raise ValueError if the architecture, the likelihood or the prior does not fit this kind."""
        known = {"architecture": self.nets, "likelihood": self.likelihoods, "prior": self.priors}
        for (what, names), name in zip(known.items(), (net, likelihood, prior), strict=True):
            if name not in names:
                raise ValueError(f"models of {self.many} take the {what} {' or '.join(sorted(names))}, not {name[:80]!r}")
