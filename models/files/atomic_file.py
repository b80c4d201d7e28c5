"""Replacing files so that a kill, a full disk or a failing one leaves the old content or the new, never a part.

Knows nothing of what is in the files.
"""

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

# the end of the names of temporary files: `remove_leftovers` must never take a user's file for one of them
SUFFIX = ".vae-tmp"
KEPT = "what was there before has been kept"


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
    """Replace files of one directory that belong together, all or none: see `replace_together`. Raises WriteError."""
    for path in contents:
        _check_replaceable(path)
    prepared: dict[Path, Path] = {}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            prepared[path] = _prepare(path, content, durable)
        replace_together(prepared)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; {KEPT}") from error
    finally:
        _remove(prepared.values())
    if durable:
        try:
            sync_directory(path.parent)
        except OSError as error:
            raise WriteError(
                error.errno, f"{path} is written, but a power cut may take it back: {error.strerror} of {path.parent}"
            ) from error


def replace_together(prepared: Mapping[Path, Path]) -> None:
    """Move new files to the places (the keys) of others, or of none, on the same file systems.

    When a move fails, or an exception such as KeyboardInterrupt comes in between, the moves before it are undone. Only a kill
    or a power cut between two moves leaves a new file beside an old one. Raises WriteError, which says what is there now.
    """
    previous: dict[Path, Path | None] = {}
    path = next(iter(prepared))
    try:
        if len(prepared) > 1:
            for path in prepared:
                previous[path] = _keep(path)
        for path, new in prepared.items():
            new.replace(path)
    except BaseException as error:
        # a new file that is not where it was prepared has been moved, also when the exception came right after the move
        moved = [path for path in previous if not os.path.lexists(prepared[path])]
        stuck = {path: previous.pop(path) for path in moved if not _put_back(path, previous[path])}
        if not isinstance(error, OSError):
            raise
        result = "; ".join(f"{new} could not be undone, what was there is {old or 'nothing'}" for new, old in stuck.items())
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; {result or KEPT}") from error
    finally:
        _remove(previous.values())


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
            if path.name.startswith(".") and path.name.endswith(SUFFIX):
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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=SUFFIX)
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
    """A second name of a file's content, or a copy where there are no hard links; None if there is no file. Raises OSError."""
    if not os.path.lexists(path):
        return None
    name = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        os.link(path, name)
    except OSError:
        shutil.copy2(path, name, follow_symlinks=False)
    return name


def _put_back(path: Path, previous: Path | None) -> bool:
    """Undo a move; whether that worked."""
    try:
        if previous is None:
            path.unlink()
        else:
            previous.replace(path)
    except OSError:
        return False
    return True


def _remove(paths: Iterable[Path | None]) -> None:
    """Remove those that are still there. What cannot be removed stays, under a name that nobody reads."""
    for path in paths:
        with suppress(OSError):
            if path is not None:
                path.unlink()
