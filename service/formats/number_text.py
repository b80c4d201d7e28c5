"""Numbers as texts of a query or a form have them. Knows nothing of parameters."""

import re

# What JSON has, with a sign, leading zeros, and a point at either end. `float` and `int` of Python take more: 1_0, ' 1', '١'.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_number(text: str) -> bool:
    """Return whether a text is a decimal number and nothing else."""
    return _NUMBER.fullmatch(text) is not None
