"""Puts posteriors into Parquet files in a directory, each id once. Knows nothing of how they are computed.

    _load.json           what is encoded, with which model and options; once all parts are there it says so
    part-000000.parquet  the first `rows_per_file` items in the order of the inputs, and so on; without the unreadable ones
    _unreadable.jsonl    the unreadable items of all parts, if there are any: id, place, reason and part

A part has a fixed place in the order of all items, and its file appears complete or not at all. So the files that are there
are the record of what is done: a load that was killed makes those that are missing. What is noticed about a part is in the
metadata of its file. The ids in a part that is there must be those of its place.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.files.atomic_file import remove_leftovers, write_atomically
from models.files.directory_lock import DirectoryInUse, locked
from service.bulk.encoded import Counts, Encoded, Noticed, Unreadable
from service.bulk.unreadable_file import UNREADABLE, write_unreadable
from service.operations.load_sources import LoadError, PictureBatch

RECORD = "_load.json"
NOTICED = b"vae"  # key of the metadata of a file
# Names of what a load was started with, for errors.
OPTIONS = {
    "digest": "the model {2} is sha256:{0}, it was sha256:{1}; give the directory that has it with --models-dir",
    "device": "the device (VAE_DEVICE) is {}, it was {}",
    "engine": "the engine (VAE_ENGINE) is {}, it was {}",
    "precision": "the precision (VAE_PRECISION) is {}, it was {}",
    "max_batch": "VAE_MAX_BATCH is {}, it was {}",
    "background": "--background is {}, it was {}",
    "invert": "--invert is {}, it was {}",
    "picture_columns": "pictures are read from the columns {}, they were read from {} (--picture-column)",
    "rows_per_file": "--rows-per-file is {}, it was {}",
    "metadata_columns": "--metadata-columns are {}, they were {}",
    "count": "there are {} items, there were {}",
    "ids": "the items have other ids (their digest is {}, it was {})",
}


class ParquetOutput:
    """A directory that is filled. `progress` is told how many items are done."""

    def __init__(
        self, directory: Path, ids: Sequence[str], options: dict[str, Any], progress: Callable[[int], object], counts: Counts
    ) -> None:
        """Take the ids of all items in the order of the inputs, and the options that have an influence on the posteriors."""
        self._ids = ids
        self._directory, self._count, self._progress, self._counts = directory, len(ids), progress, counts
        self._rows: int = options["rows_per_file"]
        self._about = {"format": 1, **options, "count": len(ids), "ids": _digest(ids)}
        self._seen = 0  # items of batches that were asked about
        self._missing: list[int] = []  # parts that are not there, in their order
        self._waiting: list[Encoded] = []  # of the first part that is missing

    @contextmanager
    def opened(self) -> Iterator["ParquetOutput"]:
        """Take over the directory and return this object: nobody else may write there meanwhile. Raises LoadError, OSError."""
        try:
            with locked(self._directory, "service.store load", make=True):
                remove_leftovers(self._directory)
                self._go_on()
                yield self
        except DirectoryInUse as error:
            raise LoadError(str(error)) from None

    def _go_on(self) -> None:
        """Read what is there. Raises LoadError if it is another load."""
        record = self._directory / RECORD
        if record.exists():
            try:
                before = json.loads(record.read_bytes())
            except ValueError:
                before = None
            if not isinstance(before, dict) or before.get("format") != 1:
                raise LoadError(f"{record} is not the record of a load; choose another directory")
            if missing := [name for name in OPTIONS if name not in before]:
                raise LoadError(
                    f"{self._directory} was begun by an earlier version, which did not record everything that must stay the "
                    f"same ({', '.join(missing)}); choose a new directory"
                )
            own, earlier = self._about["model"], before.get("model")
            if own != earlier and self._about["digest"] != before["digest"]:
                raise LoadError(
                    f"{self._directory} was begun with the model {earlier}, not with {own}: give --model {earlier}, or a new "
                    "directory"
                )
            changed = [
                text.format(_stated(self._about[name]), _stated(before[name]), own)
                for name, text in OPTIONS.items()
                if self._about[name] != before[name]
            ]
            if changed:
                raise LoadError(
                    f"{self._directory} was begun otherwise: {'; '.join(changed)}. A directory has one load of the same items "
                    "with the same options: give those, or a new directory"
                )
        else:
            if others := [path.name for path in self._directory.iterdir() if path.name != ".lock"]:
                raise LoadError(
                    f"{self._directory} has files of something else, such as {min(others)}; choose a new directory"
                )
        for part in range(-(-self._count // self._rows)):
            if (path := self._path(part)).exists():
                self._read(path, part)
            else:
                self._missing.append(part)
        if self._missing:  # Somebody may have deleted parts of a load that was finished.
            self._record(finished=False)

    def _read(self, path: Path, part: int) -> None:
        """Count the items of a part that is there. Raises LoadError if it does not have those that belong there."""
        try:
            noticed = orjson.loads(pq.read_metadata(path).metadata[NOTICED])
            unreadable = [Unreadable(*one) for one in noticed["unreadable"]]
            warnings = {code: (int(count), str(first)) for code, (count, first) in noticed["warnings"].items()}
            found = Noticed(unreadable, warnings, noticed["least"], noticed["most"])
            ids: list[str] = pq.read_table(path, columns=["id"])["id"].to_pylist()
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise LoadError(f"{path} is not a part of this load: {error}; delete it, and it is made again") from None
        size, left_out = self._size(part), {one.id for one in unreadable}
        due = [id for id in self._ids[part * self._rows : part * self._rows + size] if id not in left_out]
        if ids != due:
            differing = next((i for i, (one, other) in enumerate(zip(ids, due, strict=False)) if one != other), None)
            reason = (
                f"it has {len(ids)} items, and {len(due)} belong there"
                if differing is None
                else f"its item {differing} is {ids[differing]!r}, and {due[differing]!r} belongs there"
            )
            raise LoadError(f"{path} is not this part of the load: {reason}; delete it, and it is made again")
        self._counts.add(found)
        self._counts.there += len(ids)
        self._progress(size)

    async def wanted(self, batch: PictureBatch) -> list[PictureBatch]:
        """Return those of a batch that belong to parts which are missing, divided where a part ends."""
        first, self._seen = self._seen, self._seen + len(batch.ids)
        found, missing = [], set(self._missing)
        for part in range(first // self._rows, -(-self._seen // self._rows)):
            if part in missing:
                start, end = max(first, part * self._rows), min(self._seen, (part + 1) * self._rows)
                found.append(batch.only(range(start - first, end - first)))
        return found

    async def write(self, encoded: Encoded) -> None:
        """Keep a batch until its part is whole, then write the part. Raises OSError."""
        self._waiting.append(encoded)
        part = self._missing[0]
        if sum(one.count for one in self._waiting) == self._size(part):
            write_atomically(self._path(part), _file(self._waiting))
            self._counts.added += sum(len(one.items) for one in self._waiting)
            self._missing.pop(0)
            self._waiting = []
        self._progress(encoded.count)

    async def finish(self) -> None:
        """Write the list of all unreadable items, and that all is done. Raises OSError."""
        unreadable = self._directory / UNREADABLE
        if self._counts.unreadable:
            places = {id: i for i, id in enumerate(self._ids)}
            write_unreadable(
                unreadable,
                sorted(self._counts.unreadable),
                lambda one: {"part": self._path(places[one.id] // self._rows).name} if one.id in places else {},
            )
        else:
            unreadable.unlink(missing_ok=True)
        self._record(finished=True)

    def _record(self, finished: bool) -> None:
        about = {**self._about, "finished": finished, "left_out": len(self._counts.unreadable) if finished else None}
        write_atomically(self._directory / RECORD, json.dumps(about, indent=1).encode() + b"\n")

    def _path(self, part: int) -> Path:
        return self._directory / f"part-{part:06d}.parquet"

    def _size(self, part: int) -> int:
        return min(self._count, (part + 1) * self._rows) - part * self._rows


def _digest(ids: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for id in ids:
        digest.update(id.encode("utf-8", "surrogatepass") + b"\n")  # No id has a control character.
    return digest.hexdigest()


def _file(parts: Sequence[Encoded]) -> memoryview:
    """Return a Parquet file with the columns id, mu, sigma (lists of D float32) and metadata (a JSON object)."""
    noticed = Noticed()
    for one in parts:
        noticed.add(one.noticed)
    about = {name: getattr(noticed, name) for name in ("unreadable", "warnings", "least", "most")}
    columns = {
        "id": [_texts([id.encode() for id in one.items.ids]) for one in parts],
        "mu": [_vectors(one.items.mu) for one in parts],
        "sigma": [_vectors(one.items.sigma) for one in parts],
        "metadata": [_texts(one.items.metadata) for one in parts],
    }
    table = pa.table({name: pa.chunked_array(arrays) for name, arrays in columns.items()})
    described = table.replace_schema_metadata({NOTICED: orjson.dumps(about, default=list)})
    sink = pa.BufferOutputStream()
    # Floats of a network hardly get smaller by compression or a dictionary, which take most of the time.
    pq.write_table(described, sink, use_dictionary=["metadata"])
    return memoryview(sink.getvalue())


# Arrays are made of buffers, since `pa.array` imports pandas where it is installed, which takes half a second.


def _texts(texts: Sequence[bytes]) -> Any:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def _vectors(rows: NDArray[np.float32]) -> Any:
    numbers = pa.Array.from_buffers(pa.float32(), rows.size, [None, pa.py_buffer(np.ascontiguousarray(rows))])
    return pa.FixedSizeListArray.from_arrays(numbers, rows.shape[1])


def _stated(value: object) -> object:
    """Return an option as a message names it."""
    return "not given" if value is None else value
