"""Answers of the service as small dataclasses. Fields that this client does not know are ignored.

Arrays are those of numpy. Without numpy they are nested lists of the same shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self

from vae_client import npy
from vae_client.errors import ModelChanged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The posteriors of pictures: mu and sigma, float32 (N, D) each. `digest` identifies the weights of the model.

    `warning_count` is the number of the service's warnings, such as of blank pictures; its JSON answers say what they are.
    """

    mu: "NDArray[np.float32]"
    sigma: "NDArray[np.float32]"
    model: str = ""
    digest: str = ""
    warning_count: int = 0

    @property
    def label(self) -> str | None:
        """Return the model as the service names it, NAME@sha256:DIGEST; None if it is not known."""
        return f"{self.model}@sha256:{self.digest}" if self.digest else None

    def __len__(self) -> int:
        return len(self.mu)

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(self.mu[rows], self.sigma[rows], self.model, self.digest)

    @classmethod
    def join(cls, parts: Sequence["Posteriors"]) -> "Posteriors":
        """Return posteriors of one model in one object. Raises ModelChanged if they are of several, ValueError for none."""
        if not parts:
            raise ValueError("there are no pictures")
        models = {(part.model, part.digest): None for part in parts}
        if len(models) > 1:
            (first, second, *_) = (f"{name} {digest}" for name, digest in models)
            raise ModelChanged(f"the model was replaced meanwhile: {first} became {second}; encode all pictures again")
        mu, sigma = npy.join([part.mu for part in parts]), npy.join([part.sigma for part in parts])
        return cls(mu, sigma, parts[0].model, parts[0].digest, sum(part.warning_count for part in parts))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures: uint8 (N, H, W, C), or float32 means in [0, 1]. `seed` and `prior` are those of the draw, if there was one."""

    pixels: "NDArray[Any]" = field(repr=False)
    model: str = ""
    digest: str = ""
    seed: int | None = None
    prior: str | None = None
    warning_count: int = 0

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Model:
    """A loaded model. `shape` is (height, width, channels); `fields` is the whole answer."""

    name: str
    digest: str
    latent_dim: int
    shape: tuple[int, ...]
    default: bool = False
    priors: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Collection:
    """A collection. `count` is its number of items, `seq` the number of its last change."""

    name: str
    model: str
    digest: str
    latent_dim: int
    metric: str
    description: str = ""
    count: int = 0
    seq: int = 0


@dataclass(frozen=True)
class PictureWarning:
    """What is probably wrong with a picture that was encoded all the same. `item` is its position."""

    code: str
    detail: str
    item: int | None = None


@dataclass(frozen=True)
class Added:
    """The items that were added, durably. `added` and `replaced` are the ids of the new and of the replaced ones."""

    ids: tuple[str, ...]
    seq: int
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    warnings: tuple[PictureWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def join(cls, parts: Sequence["Added"]) -> "Added":
        """Return all items of several requests. Raises ValueError for none."""
        if not parts:
            raise ValueError("there are no items")
        starts = [0, *accumulate(map(len, parts))][:-1]
        return cls(
            tuple(id for part in parts for id in part.ids),
            max(part.seq for part in parts),
            tuple(id for part in parts for id in part.added),
            tuple(id for part in parts for id in part.replaced),
            tuple(_moved(one, start) for part, start in zip(parts, starts, strict=True) for one in part.warnings),
        )


def _moved(warning: PictureWarning, start: int) -> PictureWarning:
    """Return a warning of a batch whose first item is the one at `start`."""
    return warning if warning.item is None else replace(warning, item=warning.item + start)


@dataclass(frozen=True, eq=False)
class Item:
    """An item of a collection. mu and sigma, float32 (D,), are None where they were not asked for or do not exist."""

    id: str
    metadata: dict[str, Any]
    seq: int
    mu: "NDArray[np.float32] | None" = None
    sigma: "NDArray[np.float32] | None" = None


@dataclass(frozen=True, eq=False)
class Neighbor:
    """An item that a search found. `image` is a PNG of its decoded mu, if it was asked for."""

    id: str
    distance: float
    metadata: dict[str, Any]
    mu: "NDArray[np.float32] | None" = None
    sigma: "NDArray[np.float32] | None" = None
    image: bytes | None = None


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The neighbours of one query, nearest first. `exact` is false if the search was approximate."""

    neighbors: tuple[Neighbor, ...]
    metric: str
    exact: bool
    seq: int
    warnings: tuple[PictureWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.neighbors)

    def __iter__(self) -> Iterator[Neighbor]:
        return iter(self.neighbors)

    def __getitem__(self, i: int) -> Neighbor:
        return self.neighbors[i]
