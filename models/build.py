"""Call a constructor with the values of an object of JSON: keys that it does not know, and keys that are missing, are named.

Knows nothing of files, nor of what is constructed.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from reprlib import repr as short_repr
from typing import Any, TypeVar

T = TypeVar("T")


def build(constructor: Callable[..., T], stored: object, of: str, *leading: Any, key: str = "key", **given: Any) -> T:
    """Return what a constructor makes of the arguments `leading` and `given`, and of stored values by their keys.

    `of`: what has the keys, for messages, such as "preprocessing". `key`: what they are called there. Raises ValueError for
    a value that is no object, for unknown and for missing keys, and whatever the constructor raises.
    """
    if not isinstance(stored, Mapping):
        raise ValueError(f"{of} must be an object, not {short_repr(stored)}")
    taken = [one for one in inspect.signature(constructor).parameters.values() if one.name not in given][len(leading) :]
    known = [one.name for one in taken if one.kind is not one.VAR_KEYWORD]
    for name in stored.keys() - known if len(known) == len(taken) else ():
        near = difflib.get_close_matches(str(name)[:100], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known {key}s: {', '.join(known) or 'none'}"
        raise ValueError(f"{of} has the unknown {key} {short_repr(name)}; {hint}")
    missing = [one.name for one in taken if one.name in known and one.default is one.empty and one.name not in stored]
    if missing:
        more = "s" if len(missing) > 1 else ""
        raise ValueError(f"{of} lacks the {key}{more} {', '.join(map(repr, missing))}")
    return constructor(*leading, **stored, **given)
