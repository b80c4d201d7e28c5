"""The keys under which data are in JSON bodies and forms, of all kinds: a list of items, and one item."""

from collections.abc import Mapping

# The key of a list -> that of one item.
ONE_OF: Mapping[str, str] = {"images": "image", "rows": "row", "strokes": "sketch", "texts": "text"}
ONES = tuple(ONE_OF.values())
# The fields of forms that are files with data.
FILES = ("image", "rows", "strokes", "texts")
DATA_KEYS = tuple(key for pair in ONE_OF.items() for key in pair)
