"""Parses multipart/form-data into parts in memory, and counts them while parsing. Knows nothing of pictures or routes."""

from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.formats.errors import Undecodable

# A long form is parsed in pieces of this size, so that other threads can run in between.
PIECE_BYTES = 1 << 20


class TooManyParts(Exception):
    """A form has more parts than allowed."""

    def __init__(self, max_parts: int) -> None:
        super().__init__(f"the form has more than {max_parts} parts")


@dataclass(slots=True)
class Part:
    """One field or file of a form."""

    name: str
    filename: str | None
    data: bytes


def parse_form(body: bytes, content_type: str, max_parts: int) -> list[Part]:
    """Return the parts of a form in their order. Raise Undecodable or TooManyParts."""
    boundary = parse_options_header(content_type)[1].get("boundary")
    if not boundary:
        raise Undecodable("the Content-Type of a form must have a boundary")
    parts: list[Part] = []
    pieces: list[bytes] = []  # data of the last part
    try:
        # Header bytes are read as latin-1, which loses none of them; `_text` decodes names as UTF-8.
        with PushMultipartParser(boundary.encode("latin-1"), header_charset="latin-1") as parser:
            for start in range(0, len(body), PIECE_BYTES):
                if parser.closed:  # data after the last part is ignored
                    break
                for event in parser.parse(body[start : start + PIECE_BYTES] if len(body) > PIECE_BYTES else body):
                    if isinstance(event, MultipartSegment):
                        if len(parts) == max_parts:
                            raise TooManyParts(max_parts)
                        filename = None if event.filename is None else _text(event.filename)
                        parts.append(Part(_text(event.name), filename, b""))
                    elif event is not None:
                        pieces.append(event)
                    elif pieces:  # the part is complete
                        parts[-1].data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                        pieces = []
    except MultipartError as error:
        # The parser refers to its error, whose traceback refers to the parser: a cycle that would keep the form in memory.
        error.__traceback__ = None
        raise Undecodable(f"corrupt form: {error}") from None
    return parts


def _text(name: str) -> str:
    """Decode UTF-8 that was read as latin-1, with replacement characters for invalid bytes."""
    return name if name.isascii() else name.encode("latin-1").decode("utf-8", "replace")
