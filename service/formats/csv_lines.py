"""The lines of a CSV file, one by one, in bounded memory and time. Knows nothing of what the cells mean."""

import io
import time
from collections.abc import Iterator

from models.kinds.csv_text import BadCsv, encoding_of
from service.engine.errors import DeadlineExceeded
from service.formats.errors import Undecodable, Unusable

# A row may have so many characters, and a file so many lines: text in quotes may have several.
MOST_CHARACTERS, MOST_LINES = 1 << 20, 1 << 20
# The clock is looked at after so many lines.
LINES_A_LOOK = 64
PIECE = 1 << 20


def csv_lines(file: bytes, deadline: float | None = None) -> Iterator[str]:
    """Yield the lines with their ends. The encoding is found as in training. Raises BadInput, DeadlineExceeded."""
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
            if number % LINES_A_LOOK == 0 and deadline is not None and time.monotonic() > deadline:
                raise DeadlineExceeded(f"the deadline passed while line {number} of the CSV was read")
            yield line
