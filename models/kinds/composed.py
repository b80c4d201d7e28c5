"""The composed form of text (NFC), in which an accented letter is one character, however it was typed."""

import unicodedata


def composed(text: str) -> str:
    """Return a text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
