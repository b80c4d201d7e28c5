"""Checkpoints of the Hugging Face hub, for `models.load("owner/name")`: downloaded once, and kept in the hub's cache.

Only configuration and weights are downloaded, and never code: whatever else a repository has is left there.
"""

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.program import PACKAGE

# An owner and a name, as the hub allows them. "./runs/mine", "~/mine" and "runs/mine/last" are paths.
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class HubError(Exception):
    """The hub does not give the checkpoint; the message says why."""


def is_hub_name(path: str | Path) -> bool:
    """Return whether this is the name of a repository. A text that is also the path of something here is none."""
    return isinstance(path, str) and NAME.fullmatch(path) is not None and not Path(path).exists()


def downloaded(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return a directory with these files of a repository, or those of them that it has. Raises HubError.

    `revision` is a branch, a tag or the hash of a commit; without one, it is the branch "main".
    """
    at = f"{name}{'' if revision is None else f' at {revision}'}"
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise HubError(
            f"{at}: there is no such directory here; to load it from the Hugging Face hub, install {error.name}: "
            "pip install 'vae-service[hub]'"
        ) from None
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(files), library_name=PACKAGE, library_version=_own_version()
        )
    except Exception as error:  # the client raises many unrelated types
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise HubError(
            f"{at}: there is no such directory here, and the Hugging Face hub does not give it: {reason}"
        ) from error
    return Path(found)


def _own_version() -> str | None:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None
