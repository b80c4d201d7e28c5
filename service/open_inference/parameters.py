"""The parameters of a request, an input or an output: name -> string, number or boolean. Knows nothing of models."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from service.json_types import json_type
from service.observe.printable import short
from service.open_inference.errors import BadRequest
from service.suggestion import suggestion

# Hints of other servers and clients that change nothing here: the datatype says what a tensor is.
HINTS = frozenset(("content_type", "headers"))
SHARED_MEMORY = frozenset(("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"))
# What the protocol's extensions define for a request.
OF_REQUESTS = frozenset(("binary_data_output", "timeout", "priority", "sequence_id", "sequence_start", "sequence_end"))


class Parameters:
    """Parameters with their types and ranges checked. `of`: whose they are, for messages, such as "input 'image'"."""

    def __init__(self, values: object, of: str, known: Collection[str]) -> None:
        """Raise BadRequest for parameters that are not known: none is ignored."""
        if not isinstance(values, dict):
            raise BadRequest(f"the parameters of {of} must be an object, not {json_type(values)}")
        self._values: Mapping[str, Any] = values
        self._of = of
        for name in values.keys() - known - HINTS:
            if name in SHARED_MEMORY:
                raise BadRequest(f"{of} is in shared memory, which this service does not use; send binary data in the body")
            hint = suggestion(name, known, f"known are: {', '.join(sorted(known)) or 'none'}")
            raise BadRequest(f"{of} has the unknown parameter {short(name)}; {hint}")

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean. Raises BadRequest."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return default if value is None else value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number. Raises BadRequest."""
        found = self.maybe_whole(name, least, most)
        return default if found is None else found

    def maybe_whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number, or None if it is not given. Raises BadRequest."""
        value = self._values.get(name)
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """Return a number, or None if it is not given. Raises BadRequest."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise self._wrong(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def word(self, name: str, choices: Sequence[str]) -> str | None:
        """Return one of some words, or None if it is not given. Raises BadRequest."""
        value = self._values.get(name)
        if value is not None and value not in choices:
            raise self._wrong(name, f"one of {', '.join(choices)}")
        return None if value is None else str(value)

    def text(self, name: str) -> str | None:
        """Return a string, also for a whole number; None if it is not given. Raises BadRequest."""
        value = self._values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
            raise self._wrong(name, "a string")
        return None if value is None else str(value)

    def size(self, name: str) -> int | None:
        """Return a number of bytes, or None if it is not given. Raises BadRequest."""
        value = self._values.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise self._wrong(name, "a number of bytes")
        return value

    def refuse(self, name: str, why: str) -> None:
        """Raise BadRequest if a parameter asks for something: it is not missing, zero, empty or false."""
        if self._values.get(name) not in (None, 0, "", False):
            raise BadRequest(f"{self._of}: {name} is {short(self._values[name])}, but {why}")

    def _wrong(self, name: str, wanted: str) -> BadRequest:
        return BadRequest(f"{self._of}: {name} must be {wanted}, not {short(self._values[name])}")


def check_keys(values: Mapping[str, Any], known: Collection[str], of: str) -> None:
    """Raise BadRequest for keys of an object that would be ignored."""
    for key in values.keys() - known:
        raise BadRequest(f"{of} has the unknown key {short(key)}; the keys are {', '.join(sorted(known))}")
