"""Texts: sequences of characters or bytes. Knows nothing of HTTP."""

from pathlib import Path

from models.readers.found import Found
from service.inference.kinds.sequences import ServedSequences


class ServedTexts(ServedSequences):
    """A model of texts."""

    def read(self, path: Path) -> Found:
        from models.readers.texts import read_texts  # only for loading

        return read_texts(path, model=self.manifest.preprocessing)
