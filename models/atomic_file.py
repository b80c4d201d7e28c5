"""Replacing files so that a kill, a full disk or a failing one leaves the old content or the new, never a part.

Knows nothing of what is in the files.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# what tempfile puts behind the prefix of a temporary file
_RANDOM = re.compile(r"[a-z0-9_]{8}")


class WriteError(OSError):
    """A file that could not be written; the message says which, why, and what is there now."""

    def __str__(self) -> str:
        return str(self.strerror)


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Replace a file: temporary file beside it, fsync, rename, fsync of the directory. Raises WriteError.

    Without `durable` there is no fsync: whole after a kill, but not after a power cut.
    """
    write_together({path: content}, durable)


def write_together(contents: Mapping[Path, bytes], durable: bool = True) -> None:
    """Replace files of one directory that belong together: when one of them fails, all are as they were before.

    A kill between two renames is the only way to an old file beside a new one. Raises WriteError.
    """
    for path in contents:
        _check_replaceable(path)
    prepared: dict[Path, Path] = {}
    kept: dict[Path, Path | None] = {}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            prepared[path] = _prepare(path, content, durable)
        if len(contents) > 1:
            kept = {path: _keep(path) for path in contents if path.exists()}
        for path in contents:
            prepared[path].replace(path)
            del prepared[path]
    except OSError as error:
        for earlier in kept.keys() - prepared.keys():
            previous = kept.pop(earlier)
            if previous is not None:
                with suppress(OSError):
                    previous.replace(earlier)
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; what was there before has been kept") from error
    finally:
        for left in [*prepared.values(), *kept.values()]:
            with suppress(OSError):  # it stays, under a name that nobody reads, until `remove_leftovers`
                if left is not None:
                    left.unlink()
    if durable:
        try:
            sync_directory(path.parent)
        except OSError as error:
            raise WriteError(
                error.errno, f"{path} is written, but a power cut may take it back: {error.strerror} of {path.parent}"
            ) from error


def make_directory(path: Path) -> None:
    """Make a directory and those above it, durably, if they are not there. Raises OSError."""
    missing = [path, *path.parents]
    missing = missing[: next((i for i, directory in enumerate(missing) if directory.is_dir()), len(missing))]
    path.mkdir(parents=True, exist_ok=True)
    for directory in reversed(missing):
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory outlive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files that a killed process left in a directory, which nobody else may be writing to."""
    with suppress(OSError):
        for path in directory.iterdir():
            stem, _, random = path.name.rpartition(".")
            if stem.startswith(".") and _RANDOM.fullmatch(random) and (directory / stem[1:]).suffix:
                with suppress(OSError):
                    path.unlink()


def _check_replaceable(path: Path) -> None:
    """Raises WriteError for a device or a pipe, which nobody wants to lose to a file of the same name."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise WriteError(errno.EEXIST, f"cannot write {path}: it is there already and not a regular file")


def _prepare(path: Path, content: bytes, durable: bool) -> Path:
    """A temporary file beside `path` with that content."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; another user may be the one who serves
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return Path(temporary)


def _keep(path: Path) -> Path | None:
    """A second name of a file's content, under which it outlives the first; None where that cannot be had."""
    name = path.with_name(f".{path.name}.previous")
    try:
        name.unlink(missing_ok=True)  # of a process that was killed
        os.link(path, name)
    except OSError:  # the file system has no hard links
        return None
    return name
