"""The lines of a CSV file, one by one, in bounded memory. Knows nothing of what the cells mean."""

import io
from collections.abc import Iterator

from models.kinds.csv_text import BadCsv, encoding_of
from service.formats.errors import Undecodable, Unusable

# A row may have so many characters, and a file so many lines: text in quotes may have several.
MOST_CHARACTERS, MOST_LINES = 1 << 20, 1 << 20
PIECE = 1 << 20


def csv_lines(file: bytes) -> Iterator[str]:
    """Yield the lines with their ends. The encoding is found as in training. Raises BadInput."""
    try:
        encoding = encoding_of(file[i : i + PIECE] for i in range(0, len(file), PIECE))
    except BadCsv as error:
        raise Undecodable(f"the CSV {error}; save it as UTF-8") from None
    with io.TextIOWrapper(io.BytesIO(file), encoding, "replace", newline="") as text:
        for number, line in enumerate(iter(lambda: text.readline(MOST_CHARACTERS + 1), ""), 1):
            if len(line) > MOST_CHARACTERS:
                raise Unusable(f"line {number}: a row of more than {MOST_CHARACTERS:,} characters")
            if number > MOST_LINES:
                raise Unusable(f"the CSV has more than {MOST_LINES:,} lines: remove empty ones, or send several requests")
            yield line
