"""Reads the parameters that diffusers' client puts into the query. Knows nothing of models or of tensors.

The client sends a shape as one parameter for each dimension, and `True` and `False` as Python writes them.
"""

import math
import re
from collections.abc import Sequence
from typing import TypeVar, get_args
from urllib.parse import parse_qsl

from models.spatial_latents import LARGEST
from service.formats.number_text import is_number
from service.http.foreign_parameters import is_foreign
from service.http.problems import HttpError
from service.observe.printable import short
from service.suggestion import suggestion

Word = TypeVar("Word", bound=str)

# More parameters than any request of the client has: a shape of five dimensions and ten others.
MOST = 32
# Digits of a whole number. No tensor that fits into memory has a larger dimension.
WHOLE = re.compile(r"\d{1,12}", re.ASCII)
LARGEST_SIDE = 10**12 - 1
FLAGS = {"true": True, "false": False}


class UnusableQuery(HttpError):
    """A parameter in the query is unknown, missing, or has a value that is not allowed."""

    status, code = 422, "invalid_parameter"


class ClientQuery:
    """The parameters of one request, by name. Each method reads one of them; all raise UnusableQuery."""

    def __init__(self, text: str, known: Sequence[str]) -> None:
        """Take a query string apart. `known`: all parameters that it may have, of which only `shape` may repeat."""
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST)
        except ValueError:
            raise UnusableQuery(f"the query has more than {MOST} parameters") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if is_foreign(name):
                continue
            if name not in known:
                raise UnusableQuery(_unknown(name, known))
            self._values.setdefault(name, []).append(value)
        for name, values in self._values.items():
            if name != "shape" and len(values) > 1:
                raise UnusableQuery(f"{name} is given twice")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the dimensions of a tensor, all positive. `tensor`: what the message calls it."""
        dims = self._values.get("shape", [])
        if not dims:
            raise UnusableQuery(
                f"shape is missing: send one for each dimension of {tensor}, such as shape=1&shape=4&shape=64&shape=64"
            )
        for dim in dims:
            if not WHOLE.fullmatch(dim) or not int(dim):
                raise UnusableQuery(
                    f"each shape must be a whole number from 1 to {LARGEST_SIDE}, one for each dimension, not {short(dim)}"
                )
        return tuple(map(int, dims))

    def whole(self, name: str, least: int = 1, most: int = 10**12) -> int | None:
        """Return a whole number, or None if it is not given."""
        text = self._text(name)
        if text is None:
            return None
        if len(text) > len(str(most)) or not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise UnusableQuery(f"{name} must be a whole number from {least} to {most}, not {short(text)}")
        return int(text)

    def number(self, name: str) -> float | None:
        """Return a number that float32 can compute with, or None if it is not given."""
        text = self._text(name)
        if text is None:
            return None
        number = float(text) if is_number(text) else math.nan
        if not -LARGEST <= number <= LARGEST:
            raise UnusableQuery(f"{name} must be a number from -{LARGEST:g} to {LARGEST:g}, not {short(text)}")
        return number

    def flag(self, name: str) -> bool | None:
        """Return true or false, or None if it is not given."""
        text = self._text(name)
        if text is None:
            return None
        if text.lower() not in FLAGS:
            raise UnusableQuery(f"{name} must be true or false, not {short(text)}")
        return FLAGS[text.lower()]

    def word(self, name: str, words: object, default: Word, hints: dict[str, str] | None = None) -> Word:
        """Return a word of a Literal type, or the default. `hints`: what to do instead of other words."""
        text, allowed = self._text(name), get_args(words)
        for word in allowed:
            if text == word:
                found: Word = word
                return found
        if text is None:
            return default
        hint = (hints or {}).get(text, "")
        raise UnusableQuery(f"{name} must be {' or '.join(allowed)}, not {short(text)}{hint and '; '}{hint}")

    def _text(self, name: str) -> str | None:
        return self._values[name][0] if name in self._values else None


def _unknown(name: str, known: Sequence[str]) -> str:
    hint = suggestion(name, known, f"the parameters are {', '.join(known)}")
    return f"unknown parameter {short(name)}; {hint}"
