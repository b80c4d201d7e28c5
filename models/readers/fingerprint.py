"""Say whether the files of a data set are still those that were read, by names, sizes and times, without their content."""

import os
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.readers.download import DataError
from models.readers.left_out import plural
from models.readers.memory import size_text
from models.readers.path_names import shown
from models.readers.scan import scan


@dataclass(frozen=True)
class Fingerprint:
    """The files of a folder of pictures, or one file: how many, their bytes, and the SHA-256 of what is known of them."""

    files: int
    bytes: int
    names: str  # of paths, relative to the folder, and sizes
    times: str  # of the times of the last change

    def stored(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{plural(self.files, 'file')} of {size_text(self.bytes)}"

    def changed(self, was: "Fingerprint") -> str:
        """Say what is different from an earlier fingerprint; "" if nothing is."""
        if self == was:
            return ""
        if (self.files, self.bytes) != (was.files, was.bytes):
            return f"it had {was}, and now has {self}"
        if self.names != was.names:
            return f"it has {self} as before, but with other names or sizes"
        return f"it has the same {self}, but some were written again"


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file, or of the pictures below a folder. Raises DataError."""
    files = scan(path).files if path.is_dir() else [path]
    total, names, times = 0, sha256(), sha256()
    for file in files:
        try:
            found = os.stat(file)
        except OSError as error:
            raise DataError(f"{shown(file)}: {error.strerror}") from None
        total += found.st_size
        name = os.fsencode(file.relative_to(path)) if file != path else b""
        names.update(b"%s\0%d\0" % (name, found.st_size))
        times.update(b"%d\0" % found.st_mtime_ns)
    return Fingerprint(len(files), total, names.hexdigest(), times.hexdigest())
