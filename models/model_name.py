"""The names that a model may have: the last part of its directory, under which the service offers it."""

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RULE = "use up to 100 letters, digits, '.', '_' and '-', of which the first is a letter or digit"


def is_name(name: str) -> bool:
    """Return whether a model may have this name."""
    return NAME.fullmatch(name) is not None
