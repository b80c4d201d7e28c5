"""Answers of the service as small dataclasses. Fields that this client does not know are ignored.

Arrays are those of numpy. Without numpy they are nested lists of the same shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

from vae_client import npy
from vae_client.data import Data
from vae_client.errors import ModelChanged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


ROWS = ("mu", "sigma", "logvar", "kl", "kl_per_dim", "z")  # the fields of posteriors that have a row for each picture


@dataclass(frozen=True)
class PictureWarning:
    """What is probably wrong with a picture that was encoded all the same. `item` is its position."""

    code: str
    detail: str
    item: int | None = None


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The posteriors of pictures: mu and sigma, float32 (N, D) each. `digest` identifies the weights of the model.

    `logvar`, `kl` (N,), `kl_per_dim`, and `z`, which was drawn with `seed`, are None unless `include` asked for them.
    `warning_count` is the number of the service's warnings, such as of blank pictures. Their texts are in `warnings`, if
    anything was included; `include=["warnings"]` asks for nothing else.

    `latent_shape` is (C, h, w) for a model whose latents have a shape, which depends on the size of the pictures, and () for
    others: `mu.reshape(-1, *latent_shape)`. `decode` takes such posteriors as they are.
    """

    mu: "NDArray[np.float32]"
    sigma: "NDArray[np.float32]"
    model: str = ""
    digest: str = ""
    warning_count: int = 0
    warnings: tuple[PictureWarning, ...] = ()
    logvar: "NDArray[np.float32] | None" = None
    kl: "NDArray[np.float32] | None" = None
    kl_per_dim: "NDArray[np.float32] | None" = None
    z: "NDArray[np.float32] | None" = None
    seed: int | None = None
    latent_shape: tuple[int, ...] = ()

    @property
    def label(self) -> str | None:
        """Return the model as the service names it, NAME@sha256:DIGEST; None if it is not known."""
        return f"{self.model}@sha256:{self.digest}" if self.digest else None

    def __len__(self) -> int:
        return len(self.mu)

    def __getitem__(self, rows: int | slice) -> Self:
        """Return some of the posteriors; of an int, one in the same form: mu is (1, D). Raises IndexError."""
        if isinstance(rows, Integral):
            row = range(len(self))[rows]
            rows = slice(row, row + 1)
        arrays = {name: values[rows] for name in ROWS if (values := getattr(self, name)) is not None}
        return replace(self, **arrays, warning_count=0, warnings=())

    @classmethod
    def join(cls, parts: Sequence["Posteriors"]) -> "Posteriors":
        """Return posteriors of one model in one object. Raises ModelChanged if they are of several."""
        if not parts:
            nothing = npy.floats([[]])[:0]  # (0, 0), as only an answer says what D is
            return cls(nothing, nothing)
        models = {(part.model, part.digest): None for part in parts}
        if len(models) > 1:
            (first, second, *_) = (f"{name} {digest}" for name, digest in models)
            raise ModelChanged(f"the model was replaced meanwhile: {first} became {second}; encode all pictures again")
        shapes = sorted({part.latent_shape for part in parts})
        if len(shapes) > 1:
            raise ValueError(
                f"the pictures have several sizes: their latents have the shapes {shapes[0]} and {shapes[1]}; encode those of "
                "one size together"
            )
        arrays = {name: [getattr(part, name) for part in parts] for name in ROWS}
        joined = {name: npy.join(all_) for name, all_ in arrays.items() if not any(one is None for one in all_)}
        count = sum(part.warning_count for part in parts)
        about: dict[str, Any] = {"model": parts[0].model, "digest": parts[0].digest, "latent_shape": shapes[0]}
        return cls(**joined, **about, warning_count=count, warnings=all_warnings(parts))


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures of a decoder: uint8 (N, H, W, C), or float32 means in [0, 1].

    `seed` and `prior` are those of the draw, if there was one; `z`, float32 (N, D), is there if `include` asked for it. With
    `details=True`, `z` is there too, and `details` has what else the answer says, such as the `rows` of `traverse`.
    `warning_count` is the number of the service's warnings about the pictures that were sent; `include=["warnings"]` of encode
    says for the same pictures what they are.

    A model of tables, drawings or texts answers `items`, as Rows, Strokes or Texts, and any use of `pixels` raises
    AttributeError; `details` then has what else the answer says, such as the columns that were `filled`.
    """

    pixels: "NDArray[Any]" = field(repr=False)
    model: str = ""
    digest: str = ""
    seed: int | None = None
    prior: str | None = None
    warning_count: int = 0
    z: "NDArray[np.float32] | None" = None
    details: Mapping[str, Any] = field(default_factory=dict)
    items: Data | None = None

    def __len__(self) -> int:
        return len(self.pixels if self.items is None else self.items)


@dataclass(frozen=True)
class Model:
    """A loaded model. `shape` is (height, width, channels), `labels` are those of `sample`, `fields` is the whole answer."""

    name: str
    digest: str
    latent_dim: int
    shape: tuple[int, ...]
    default: bool = False
    priors: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """A collection. `count` is its number of items, `seq` the number of its last change.

    `keep` is "picture" if original pictures are kept. `loaded_as` is the name that its model has now, if that is another one.
    `sigma_weight` is the weight of sigma if the metric is w2, and None for other metrics.
    """

    name: str
    model: str
    digest: str
    latent_dim: int
    metric: str
    description: str = ""
    count: int = 0
    seq: int = 0
    keep: str = "nothing"
    loaded_as: str | None = None
    sigma_weight: float | None = None


@dataclass(frozen=True)
class Added:
    """The items that were added, durably: `ids` of all, and which of them were `added`, `replaced`, and `skipped`."""

    ids: tuple[str, ...]
    seq: int
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    warnings: tuple[PictureWarning, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def join(cls, parts: Sequence["Added"]) -> "Added":
        """Return all items of several requests. `seq` is 0 if there are none."""
        return cls(
            tuple(id for part in parts for id in part.ids),
            max((part.seq for part in parts), default=0),
            tuple(id for part in parts for id in part.added),
            tuple(id for part in parts for id in part.replaced),
            all_warnings(parts),
            tuple(id for part in parts for id in part.skipped),
        )


def all_warnings(parts: Sequence[Any]) -> tuple[PictureWarning, ...]:
    """Return the `warnings` of the results of several requests, with the positions of their pictures among all."""
    starts = [0, *accumulate(map(len, parts))][:-1]
    return tuple(
        one if one.item is None else replace(one, item=one.item + start)
        for part, start in zip(parts, starts, strict=True)
        for one in part.warnings
    )


@dataclass(frozen=True)
class Deleted:
    """How many items were deleted, and the first 1,000 of their ids.

    `missing` are the ids that no item had. `unknown_keys` and `did_you_mean` are about the filter, as those of Neighbors.
    """

    count: int
    ids: tuple[str, ...]
    seq: int
    missing: tuple[str, ...] = ()
    unknown_keys: tuple[str, ...] = ()
    did_you_mean: Mapping[str, str] = field(default_factory=dict)


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
    """An item that a search found. If asked for, `image` is a PNG of its decoded mu, `data` the row, drawing or text."""

    id: str
    distance: float
    metadata: dict[str, Any]
    mu: "NDArray[np.float32] | None" = None
    sigma: "NDArray[np.float32] | None" = None
    image: bytes | None = None
    data: Any = None


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The neighbours of one query, nearest first. `exact` is false if the search was approximate.

    `unknown_keys` are the keys of the filter that no item has, `did_you_mean` gives similar ones that some item has.
    """

    neighbors: tuple[Neighbor, ...]
    metric: str
    exact: bool
    seq: int
    warnings: tuple[PictureWarning, ...] = ()
    unknown_keys: tuple[str, ...] = ()
    did_you_mean: Mapping[str, str] = field(default_factory=dict)
    sigma_weight: float | None = None  # of w2; other metrics have none

    def __len__(self) -> int:
        return len(self.neighbors)

    def __iter__(self) -> Iterator[Neighbor]:
        return iter(self.neighbors)

    def __getitem__(self, i: int) -> Neighbor:
        return self.neighbors[i]
