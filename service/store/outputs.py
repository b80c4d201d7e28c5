"""Files that a command writes: each is there whole or not at all, and nothing is replaced that is not an earlier one.

Knows nothing of what is in them.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.store.interface import StoreUnusable


def check_output(out: Path, is_earlier: Callable[[Path], bool], kind: str, sources: Sequence[Path] = ()) -> Path:
    """Where the file may be written, with links followed. Raises StoreUnusable.

    A file that is there must be an `is_earlier` one, a `kind`, or empty, and none of the `sources` under any name.
    """
    target = Path(os.path.realpath(out))
    if not target.parent.is_dir():
        raise StoreUnusable(f"{out} cannot be written: there is no directory {target.parent}")
    for source in sources:
        if target == Path(os.path.realpath(source)) or (target.exists() and source.exists() and target.samefile(source)):
            raise StoreUnusable(f"{out} is {source} itself, which is in use as the store: name another file")
    if not target.exists():
        return target
    if not target.is_file():
        raise StoreUnusable(f"{out} is no regular file but a directory, a device or the like: name another file")
    if target.stat().st_size and not is_earlier(target):
        raise StoreUnusable(f"{out} is there, and it is no {kind}: only an earlier one is replaced; remove it or name another")
    return target


@contextmanager
def written(target: Path, mode: int) -> Iterator[Path]:
    """A path for a new file, which takes the target's place when the block ends well; else nothing of it is left."""
    # a directory of its own beside the target, since sqlite puts files beside the one that it writes
    directory = tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    try:
        part = Path(directory) / "new"
        yield part
        os.chmod(part, mode)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
        _sync_directory(target.parent)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _sync_directory(directory: Path) -> None:
    """So that the new name outlives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
