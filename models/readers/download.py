"""Download the files of public data sets once, with a progress bar. A file is kept only if its SHA-256 is right."""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30


class DataError(Exception):
    """The data cannot be downloaded or read; the message names the file and the reason."""


def ensure_file(path: Path, mirrors: Sequence[str], sha256: str) -> Path:
    """Return `path`; if the file is missing, download it from the first mirror with the right bytes. Raises DataError."""
    if path.exists():
        return path
    failures = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + path.name
        try:
            _download(url, path, sha256)
            return path
        except (OSError, HTTPException, ValueError) as error:  # URLError and timeouts are OSErrors.
            failures.append(f"{url}: {error}")
    raise DataError(f"{path} is missing and could not be downloaded:\n  " + "\n  ".join(failures))


def _download(url: str, path: Path, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file, urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  The user chose the address.
            total = int(response.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, desc=path.name, unit="B", unit_scale=True, disable=None) as progress:
                while chunk := response.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                    progress.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise ValueError(f"the SHA-256 is {digest.hexdigest()}, should be {sha256}; the broken download was deleted")
        os.chmod(temporary, 0o644)  # mkstemp creates files with mode 0600, but other users may read the data set too.
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
