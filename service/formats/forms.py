"""multipart/form-data -> parts in memory, counted while parsing. Knows nothing of pictures or routes."""

from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.formats.errors import Undecodable

# of a long form so much is parsed at a time; other threads run in between
PIECE_BYTES = 1 << 20


class TooManyParts(Exception):
    """More parts than allowed."""

    def __init__(self, max_parts: int) -> None:
        super().__init__(f"the form has more than {max_parts} parts")


@dataclass(slots=True)
class Part:
    """One field or file of a form."""

    name: str
    filename: str | None
    data: bytes


def parse_form(body: bytes, content_type: str, max_parts: int) -> list[Part]:
    """The parts of a form in their order. Raises Undecodable, TooManyParts."""
    boundary = parse_options_header(content_type)[1].get("boundary")
    if not boundary:
        raise Undecodable("a form needs a boundary in its Content-Type")
    parts: list[Part] = []
    pieces: list[bytes] = []  # of the last part
    try:
        # headers are bytes as latin-1, as ASGI has them; see _text
        with PushMultipartParser(boundary.encode("latin-1"), header_charset="latin-1") as parser:
            for start in range(0, len(body), PIECE_BYTES):
                if parser.closed:  # what follows the last part is not read
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
        # The parser keeps its error, whose traceback keeps the parser and the form until garbage is collected.
        error.__traceback__ = None
        raise Undecodable(f"corrupt form: {error}") from None
    return parts


def _text(name: str) -> str:
    """UTF-8 that was read as latin-1; what is none gets replacement characters."""
    return name if name.isascii() else name.encode("latin-1").decode("utf-8", "replace")
