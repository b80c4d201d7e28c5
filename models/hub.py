"""Checkpoints of the Hugging Face hub, for `models.load("owner/name")`: downloaded once, and kept in the hub's cache.

Only configuration and weights are downloaded, and never code: whatever else a repository has is left there.
"""

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.diffusers_layout import is_diffusers
from models.diffusers_weights import DOWNLOADS
from models.files.plain_json import parse_json
from models.files.regular_file import read_regular
from models.program import PACKAGE, first_line

# An owner and a name, as the hub allows them. "./runs/mine", "~/mine" and "runs/mine/last" are paths.
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)

MAX_CONFIG = 1 << 20  # bytes
# What the errors of the hub's client mean; its own messages are long, and some give only an address.
REASONS = {
    "RepositoryNotFoundError": "it has no such repository, or a private one: check the name, or set HF_TOKEN",
    "GatedRepoError": "its owner asks for consent: accept the conditions on its page, and set HF_TOKEN",
    "RevisionNotFoundError": "the repository has no such branch, tag or commit",
    "LocalEntryNotFoundError": "it cannot be reached, and the cache does not have these files",
}


class HubError(Exception):
    """The hub does not give the checkpoint; the message says why."""


def is_hub_name(path: str | Path) -> bool:
    """Return whether this is the name of a repository. A text that is also the path of something here is none."""
    return isinstance(path, str) and NAME.fullmatch(path) is not None and not Path(path).exists()


def downloaded(name: str, revision: str | None, config: str, weights: str) -> Path:
    """Return a directory with the configuration and the weights of a repository, as far as it has them. Raises HubError.

    `weights` is the name of the weights in our own layout; of a repository in the layout of diffusers, the first that it has
    of `diffusers_weights.DOWNLOADS` is downloaded. `revision` is a branch, a tag or the hash of a commit; without one, it is
    the branch "main".
    """
    found = _snapshot(name, revision, (config, weights))
    if not _is_diffusers(found / config):
        return found
    for files in DOWNLOADS:
        # The directory has the name of the commit, which is asked for again: the branch may have moved meanwhile.
        found = _snapshot(name, found.name, (config, *files))
        if (found / files[0]).exists():
            break
    return found


def _is_diffusers(config: Path) -> bool:
    try:
        return is_diffusers(parse_json(read_regular(config, MAX_CONFIG)))
    except (OSError, ValueError):  # The reader of checkpoints says what is wrong with it.
        return False


def _snapshot(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return a directory with these files of a repository, or those of them that it has. Raises HubError."""
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
        reason = REASONS.get(type(error).__name__) or first_line(error)
        raise HubError(
            f"{at}: there is no such directory here, and the Hugging Face hub does not give it: {reason}"
        ) from error
    return Path(found)


def _own_version() -> str | None:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None
