"""multipart/form-data -> parts in memory, counted while parsing. Knows nothing of pictures or routes."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.codecs import Undecodable


class TooManyParts(Exception):
    """More parts than allowed."""

    def __init__(self, max_parts: int) -> None:
        super().__init__(f"the form has more than {max_parts} parts")


@dataclass(slots=True)
class Part:
    """One field or file of a form."""

    name: str = ""
    filename: str | None = None
    data: bytes = b""


@dataclass
class _Collector:
    """Parser callbacks that gather the parts."""

    max_parts: int
    parts: list[Part] = field(default_factory=list)
    complete: bool = False
    _header: bytes = b""
    _value: bytes = b""
    _chunks: list[bytes] = field(default_factory=list)

    def on_part_begin(self) -> None:
        if len(self.parts) == self.max_parts:
            raise TooManyParts(self.max_parts)
        self.parts.append(Part())
        self._chunks = []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self.parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self.parts[-1].filename = options[b"filename"].decode("utf-8", "replace")
        self._header = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def on_part_end(self) -> None:
        self.parts[-1].data = b"".join(self._chunks)

    def on_end(self) -> None:
        self.complete = True


def parse_form(body: bytes, content_type: str, max_parts: int) -> list[Part]:
    """The parts of a form in their order. Raises Undecodable, TooManyParts."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Undecodable("a form needs a boundary in its Content-Type")
    collector = _Collector(max_parts)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.on_part_begin,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_part_data": collector.on_part_data,
                "on_part_end": collector.on_part_end,
                "on_end": collector.on_end,
            },
        )
        parser.write(body)
    except FormParserError as error:
        raise Undecodable(f"corrupt form: {error}") from None
    if not collector.complete:
        raise Undecodable("the form ends before its closing boundary")
    return collector.parts
