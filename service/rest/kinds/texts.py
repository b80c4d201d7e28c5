"""Texts in requests and answers: strings in JSON, and plain text."""

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unusable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.rest.bodies import Body
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format
from service.rest.parameters import BadParameter


class TextsWire(Wire):
    """Texts travel as strings, and as plain text in UTF-8, an empty line between two."""

    many: ClassVar[str] = "texts"
    things: ClassVar[str] = "texts"
    send: ClassVar[str] = 'send {"texts": ["..."]} or text/plain'
    shown: ClassVar[str] = '{"text": "..."}'
    formats: ClassVar[tuple[Format, ...]] = ("json", "txt", "png")

    def check(self, value: object, item: int | None = None) -> None:
        if not isinstance(value, str):
            raise Unusable(f"a text must be a string, not {json_type(value)}", item)

    def takes(self, model: ServedModel) -> dict[str, Any]:
        spec = model.manifest.preprocessing
        return super().takes(model) | {"max_length": spec.max_length, "tokens": spec.stored()["tokens"]}

    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        found: list[Any] = model.manifest.preprocessing.items(data)
        return found

    def file(self, model: ServedModel, data: NDArray[Any], form: Format) -> bytes:
        texts = [text.rstrip() for text in self.json(model, data)]
        if len(texts) > 1:
            _check_separable(texts)
        return "\n".join(f"{text}\n" for text in texts).encode()

    def read_text(self, model: ServedModel, body: Body) -> RawItems:
        return RawItems([_text(body.raw)], alone=True)

    def read_files(self, model: ServedModel, body: Body, files: Sequence[bytes]) -> RawItems:
        return RawItems([_text(file, item) for item, file in enumerate(files)])


def _check_separable(texts: Sequence[str]) -> None:
    """Raise BadParameter if an empty line does not tell where a text ends and the next one begins."""
    for item, text in enumerate(texts):
        if not all(line.rstrip("\r") for line in text.split("\n")):
            found = "has an empty line" if text else "is empty"
            raise BadParameter(
                f"as plain text, an empty line would stand between two texts, but text {item} of {len(texts)} {found} itself: "
                "ask for format=json, or for one text at a time"
            )


def _text(data: bytes, item: int | None = None) -> str:
    """Return the text of a file, without the line end at its end. Raises Undecodable."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable(f"the text is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8", item) from None
    return text.replace("\r\n", "\n").removesuffix("\n")
