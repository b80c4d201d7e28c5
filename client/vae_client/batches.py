"""Many pictures -> batches, each of them one request; lazily, so that only those in flight are in memory."""

import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

from vae_client import npy, pictures
from vae_client.data import Data
from vae_client.errors import ProblemError
from vae_client.results import Posteriors

# Over four connections, requests of so many pictures use 91 to 95 % of what the server can do; half as many use 87 to 91 %.
BATCH_SIZE = 1000
# A request has at most so many bytes of pictures. As base64 they still fit the service's bound of 64 MiB for a body.
MAX_BATCH_BYTES = 16 << 20

NUMBER_BYTES = 22  # of a number in JSON, with its comma

# Refusals make later batches no smaller than this, so that a few huge pictures do not slow down all others.
SMALLEST_SIZE = 32
# These are about one picture or its metadata. Every other 413 may be about the whole request, also that of a proxy.
REFUSALS_OF_ONE = frozenset(("too_costly", "metadata_too_large"))


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures or posteriors of one request. `items` are their positions among all of the call."""

    items: range
    content: Any
    ids: tuple[str, ...] = ()
    metadata: tuple[Mapping[str, Any] | None, ...] = ()

    def halves(self) -> tuple["Batch", "Batch"]:
        """Return the first half and the rest."""
        half = len(self.items) // 2
        return self._part(slice(half)), self._part(slice(half, None))

    def _part(self, rows: slice) -> "Batch":
        return Batch(self.items[rows], self.content[rows], self.ids[rows], self.metadata[rows])


@dataclass
class Sizes:
    """How many items a request may have: all of a batch, until the service refuses one that is too large."""

    most: float = math.inf

    def fits(self, batch: Batch) -> bool:
        """Return whether a batch may be sent whole."""
        return len(batch.items) <= self.most

    def shrink(self, batch: Batch, error: Exception) -> bool:
        """Return whether a batch failed because it is too large, so that it and later ones of its size are to be halved."""
        count = len(batch.items)
        if not isinstance(error, ProblemError) or error.status != 413 or error.code in REFUSALS_OF_ONE or count == 1:
            return False
        self.most = min(self.most, max(count // 2, SMALLEST_SIZE))
        return True


def count_of(content: Any) -> int | None:
    """Return how many pictures there are, None for an iterable without a length."""
    content = pictures.listed(content) if not isinstance(content, Posteriors) else content
    return len(content) if isinstance(content, Sized) else None


def split(content: Any, batch_size: int) -> Iterator[Batch]:
    """Cut pictures or posteriors into batches of `batch_size`, fewer if they are large. Raises TypeError, ValueError."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    content = content if isinstance(content, Posteriors) else pictures.listed(content)
    if isinstance(content, Posteriors) or npy.is_array(content):
        count = len(content)
        row_bytes = max(1, _row_bytes(content, count))
        size = min(batch_size, max(1, MAX_BATCH_BYTES // row_bytes))
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield Batch(range(start, stop), content[start:stop])
        return
    if isinstance(content, Data):
        for start in range(0, len(content), batch_size):
            part = content[start : start + batch_size]
            yield Batch(range(start, start + len(part)), part)
        return
    held: list[Any] = []
    start = size = 0
    for given in content:
        # An open file can be read once only, but a batch may be sent again in halves.
        picture = pictures.file_of(given) if pictures.is_file(given) else given
        size += (more := pictures.bytes_of(picture))
        if held and (len(held) == batch_size or size > MAX_BATCH_BYTES):
            yield Batch(range(start, start + len(held)), held)
            start, held, size = start + len(held), [], more
        held.append(picture)
    if held:
        yield Batch(range(start, start + len(held)), held)


def _row_bytes(content: Any, count: int) -> int:
    if not count:
        return 0
    return 2 * NUMBER_BYTES * len(content.mu[0]) if isinstance(content, Posteriors) else int(content.nbytes) // count


def named(
    content: Any,
    batch_size: int,
    ids: Iterable[str] | None,
    metadata: Iterable[Mapping[str, Any] | None] | Mapping[str, Any] | None,
) -> Iterator[Batch]:
    """Cut as `split` does, and give each item its id and its metadata. Ids that are not given are drawn here.

    The service could draw them too, but then a request that is sent again would add its items twice.
    One mapping is the metadata of all. Raises ValueError if there are more or fewer ids or metadata than items.
    """
    ids = [ids] if isinstance(ids, str) else ids
    same, metadata = (metadata, None) if isinstance(metadata, Mapping) else (None, metadata)
    count = count_of(content)
    for what, given in (("ids", ids), ("metadata", metadata)):
        if isinstance(given, Sized) and count is not None and len(given) != count:
            raise ValueError(f"there are {count} items but {len(given)} {what}")
    names = map(_id, repeat(None) if ids is None else ids)
    notes = iter(metadata) if metadata is not None else repeat(same)
    for batch in split(content, batch_size):
        size = len(batch.items)
        own_ids, own_notes = _take(names, size), _take(notes, size)
        for what, taken in (("ids", own_ids), ("metadata", own_notes)):
            if len(taken) < size:
                raise ValueError(f"there are more than {batch.items.start + len(taken)} items but no more {what}")
        yield Batch(batch.items, batch.content, own_ids, own_notes)
    for what, rest in (("ids", names if ids is not None else ()), ("metadata", notes if metadata is not None else ())):
        with suppress(StopIteration):
            next(iter(rest))
            raise ValueError(f"there are more {what} than items")


def one(content: Any, ids: Iterable[str] | str | None, metadata: Any) -> Batch:
    """Return all items as one batch. A single item may have a single id. Raises as `named` does."""
    ids = [ids] if isinstance(ids, str | os.PathLike) else ids
    content = content if isinstance(content, Posteriors) else pictures.listed(content)
    content = content if isinstance(content, Sized) else list(content)
    count = len(content)
    own_ids = tuple(map(_id, [None] * count if ids is None else ids))
    notes = (metadata,) * count if metadata is None or isinstance(metadata, Mapping) else tuple(metadata)
    for what, given in (("ids", own_ids), ("metadata", notes)):
        if len(given) != count:
            raise ValueError(f"there are {count} items but {len(given)} {what}")
    return Batch(range(count), content, own_ids, notes)


def _id(given: str | os.PathLike[str] | None) -> str:
    """Return the id of an item: a path as text, and a new one for None."""
    return str(uuid.uuid4()) if given is None else os.fspath(given)


def _take(values: Iterator[Any], count: int) -> tuple[Any, ...]:
    return tuple(islice(values, count))
