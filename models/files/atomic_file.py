"""Replace files atomically: after a kill or a disk error, the old or the new content is there, never a part of it.

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

# Suffix of temporary files. It is unusual, so that `remove_leftovers` never deletes a user's file.
SUFFIX = ".vae-tmp"
KEPT, NOTHING = "the old content was kept", "nothing was written"


class WriteError(OSError):
    """A file could not be written; the message says which file, why, and what is there now."""

    def __str__(self) -> str:
        return str(self.strerror)


def write_atomically(path: Path, content: bytes | memoryview, durable: bool = True) -> None:
    """Replace a file: write a temporary file beside it, fsync, rename, fsync the directory. Raises WriteError.

    Without `durable` there is no fsync: the file is whole after a kill, but perhaps not after a power cut.
    """
    write_together({path: content}, durable)


def write_together(contents: Mapping[Path, bytes | memoryview], durable: bool = True) -> None:
    """Replace several files of one directory, all or none: see `replace_together`. Raises WriteError."""
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
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; {_left(contents)}") from error
    finally:
        _remove(prepared.values())
    if durable:
        try:
            sync_directory(path.parent)
        except OSError as error:
            raise WriteError(
                error.errno, f"{path} is written, but a power cut may undo that: {error.strerror}: {path.parent}"
            ) from error


def replace_together(prepared: Mapping[Path, Path]) -> None:
    """Move new files (the values) to their final paths (the keys) on the same file system, replacing old files.

    If a move fails, or an exception such as KeyboardInterrupt is raised, the earlier moves are undone. Only a kill or a
    power cut between two moves leaves a new file beside an old one. Raises WriteError, which says what is there now.
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
        # A file that has left its temporary path was moved, even if an exception was raised right after the move.
        moved = [path for path in previous if not os.path.lexists(prepared[path])]
        stuck = {path: previous.pop(path) for path in moved if not _put_back(path, previous[path])}
        if not isinstance(error, OSError):
            raise
        result = "; ".join(
            f"{new} is new and could not be restored; its old file: {old or 'none'}" for new, old in stuck.items()
        )
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; {result or _left(prepared)}") from error
    finally:
        _remove(previous.values())


def check_writable(path: Path) -> None:
    """Raise WriteError if a file cannot be written at a path: try it with a temporary file, which is removed."""
    _check_replaceable(path)
    try:
        _prepare(path, b"", durable=False).unlink()
    except OSError as error:
        raise WriteError(error.errno, f"cannot write {path}: {error.strerror}; {_left([path])}") from error


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, so that they survive a power cut. Raises OSError."""
    missing = [path, *path.parents]
    missing = missing[: next((i for i, directory in enumerate(missing) if directory.is_dir()), len(missing))]
    path.mkdir(parents=True, exist_ok=True)
    for directory in reversed(missing):
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory survive a power cut (fsync). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of a killed process from a directory. No other process may be writing there."""
    with suppress(OSError):
        for path in directory.iterdir():
            if path.name.startswith(".") and path.name.endswith(SUFFIX):
                with suppress(OSError):
                    path.unlink()


def _check_replaceable(path: Path) -> None:
    """Raise WriteError if the path is a device, a pipe or a directory, which must not be replaced by a file."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise WriteError(errno.EEXIST, f"cannot write {path}: it exists and is not a regular file")


def _left(paths: Iterable[Path]) -> str:
    """Return what is at paths of which none was changed."""
    return KEPT if any(map(os.path.lexists, paths)) else NOTHING


def _prepare(path: Path, content: bytes | memoryview, durable: bool) -> Path:
    """Write the content into a temporary file beside `path`, and return its path."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp creates files with mode 0600, but the service may run as another user.
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return Path(temporary)


def _keep(path: Path) -> Path | None:
    """Keep a file's content under a second name, by hard link or copy; return None if there is no file. Raises OSError."""
    if not os.path.lexists(path):
        return None
    name = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        os.link(path, name)
    except OSError:
        shutil.copy2(path, name, follow_symlinks=False)
    return name


def _put_back(path: Path, previous: Path | None) -> bool:
    """Undo a move; return whether that worked."""
    try:
        if previous is None:
            path.unlink()
        else:
            previous.replace(path)
    except OSError:
        return False
    return True


def _remove(paths: Iterable[Path | None]) -> None:
    """Remove temporary files. One that cannot be removed stays there; nothing reads it."""
    for path in paths:
        with suppress(OSError):
            if path is not None:
                path.unlink()
