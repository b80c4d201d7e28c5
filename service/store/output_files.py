"""Files that a command writes: each is there whole or not at all, and nothing is replaced that is not an earlier one.

Knows nothing of what is in them.
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from models.files.atomic_file import replace_together, sync_directory
from models.files.directory_lock import DirectoryInUse, locked
from service.store.interface import StoreUnusable

# the end of the names of directories for files that are not whole yet, and what their locks say
SUFFIX = ".vae-part"
PURPOSE = "service.store"


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
        raise StoreUnusable(f"{out} exists and is not an earlier {kind}; delete it or choose another path")
    return target


@contextmanager
def written(targets: Sequence[Path], mode: int) -> Iterator[list[Path]]:
    """Paths for new files, which take the targets' places together when the block ends well; else nothing of them is left."""
    with ExitStack() as stack:
        parts = [stack.enter_context(_part(target)) for target in targets]
        yield parts
        for part in parts:
            os.chmod(part, mode)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        replace_together(dict(zip(targets, parts, strict=True)))
        for directory in {target.parent for target in targets}:
            sync_directory(directory)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """A path in a directory of its own beside the target, since sqlite puts files beside the one that it writes.

    The lock in it tells a directory that is in use from one that a killed process left, which is removed.
    """
    prefix = f".{target.name[:100]}."
    for left in target.parent.glob(f"{glob.escape(prefix)}*{SUFFIX}"):
        with suppress(OSError, DirectoryInUse):
            if not left.is_symlink() and left.is_dir() and left.stat().st_uid == os.getuid():
                with locked(left, PURPOSE):
                    shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(SUFFIX, prefix, target.parent))
    try:
        with locked(directory, PURPOSE):
            yield directory / "new"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
