"""Output files of a command: they appear complete or not at all, and replace only an earlier output.

Knows nothing of what is in the files.
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

# Suffix of the temporary directories for unfinished files, and the purpose that their locks state.
SUFFIX = ".vae-part"
PURPOSE = "service.store"


def check_output(out: Path, is_earlier: Callable[[Path], bool], kind: str, sources: Sequence[Path] = ()) -> Path:
    """Return the path to write to, with links followed. Raises StoreUnusable.

    An existing file must be empty or pass `is_earlier`, which tests for an earlier `kind`, such as a dump. It must not be one
    of the `sources` under any name.
    """
    target = Path(os.path.realpath(out))
    if not target.parent.is_dir():
        raise StoreUnusable(f"{out} cannot be written: there is no directory {target.parent}")
    for source in sources:
        if target == Path(os.path.realpath(source)) or (target.exists() and source.exists() and target.samefile(source)):
            raise StoreUnusable(f"{out} is {source} itself, which is in use as the store; choose another path")
    if not target.exists():
        return target
    if not target.is_file():
        raise StoreUnusable(f"{out} is not a regular file; choose another path")
    if target.stat().st_size and not is_earlier(target):
        raise StoreUnusable(f"{out} exists and is not an earlier {kind}; delete it, or choose another path")
    return target


@contextmanager
def written(targets: Sequence[Path], mode: int) -> Iterator[list[Path]]:
    """Yield paths for new files. They replace the targets together if the block succeeds, and are deleted if it fails."""
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
    """Yield a path in a temporary directory beside the target; a directory, since sqlite puts files beside its database.

    A lock tells directories in use from those that a killed process left behind, which are removed.
    """
    prefix = f".{target.name[:100]}."
    for left in target.parent.glob(f"{glob.escape(prefix)}*{SUFFIX}"):
        with suppress(OSError, DirectoryInUse):
            if not left.is_symlink() and left.is_dir() and left.stat().st_uid == os.getuid():
                with locked(left, PURPOSE):
                    shutil.rmtree(left, ignore_errors=True)
    try:
        directory = Path(tempfile.mkdtemp(SUFFIX, prefix, target.parent))
    except OSError as error:
        raise StoreUnusable(f"nothing can be written into {target.parent}: {error.strerror}; choose another path") from error
    try:
        with locked(directory, PURPOSE):
            yield directory / "new"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
