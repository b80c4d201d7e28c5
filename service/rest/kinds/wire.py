"""The interface of a wire: how the data of one kind are read from bodies and written into answers.

Knows nothing of routes or operations.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.kinds import kind_of
from models.kinds.beside import Beside, Metadata
from service.engine.errors import DeadlineExceeded
from service.formats.errors import Undecodable, Unusable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.rest.bodies import A_KIND, Body
from service.rest.data_keys import DATA_KEYS, FILES, ONE_OF
from service.rest.negotiation import Format, answer_format
from service.rest.parameters import AskedTooMuch, BadParameter

ANIMATIONS: tuple[Format, ...] = ("webp", "gif")
# So many rows, drawings or texts are drawn as pictures in one answer at most. It takes a second.
MOST_DRAWN = 1024
# Other threads get their turn, and the deadline is looked at, after so many.
DRAWN_A_TURN = 8
COST_OF_DRAWING = 1 << 19  # A picture takes a millisecond or two.
BYTES_PER_NUMBER = 64


class Wire(ABC):
    """How the data of one kind travel. There is one instance of each, in `WIRES`."""

    many: ClassVar[str]  # the key of a list of items, in bodies and answers
    things: ClassVar[str]  # for messages: "'wine' is a model of table rows"
    send: ClassVar[str]  # for messages: 'send {"rows": [{...}]} or CSV'
    shown: ClassVar[str]  # one item, as messages show it: '"row": {...}'
    formats: ClassVar[tuple[Format, ...]]  # of answers with several items, the default first

    @property
    def one(self) -> str:
        """Return the key of one item."""
        return ONE_OF[self.many]

    def format(
        self, model: ServedModel, chosen: Format | None, accept: str, frames: bool = False, offered: tuple[Format, ...] = ()
    ) -> Format:
        """Return the format of an answer with data; `frames`: it may also be an animation. Raises BadParameter."""
        if not offered:
            offered = self.formats + ANIMATIONS if frames else self.formats
        if chosen is not None and chosen not in offered:
            raise BadParameter(
                f"format: {model.name!r} is a model of {self.things}, which are answered as {', '.join(offered)}, not as "
                f"{chosen}"
            )
        return answer_format(chosen, accept, offered)

    def takes(self, model: ServedModel) -> dict[str, Any]:
        """Return what /models says of the data: their keys in JSON, the formats of answers, and what fits."""
        return {"list": self.many, "one": self.one, "formats": list(self.formats)}

    @abstractmethod
    def check(self, value: object, item: int | None = None) -> None:
        """Raise Unusable if a value of JSON cannot be an item."""

    @abstractmethod
    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        """Return data (N, ...) as a list for JSON."""

    def file(self, model: ServedModel, data: NDArray[Any], form: Format) -> bytes:
        """Return data (N, ...) as a file in one of the formats of this kind alone."""
        raise NotImplementedError(form)

    def fields(self, model: ServedModel, data: NDArray[Any]) -> dict[str, Any]:
        """Return the fields of JSON answers that have data (N, ...)."""
        return {self.many: self.json(model, data)}

    def pictures(self, inference: Inference, data: NDArray[Any]) -> NDArray[np.uint8]:
        """Return what data (N, ...) look like, uint8 (N, H, W, C). Raises AskedTooMuch, DeadlineExceeded."""
        model = inference.model
        self.check_drawn(len(data))
        draw = partial(kind_of(model.manifest.model.kind).pictures, spec=model.manifest.preprocessing)
        parts = []
        for first in range(0, len(data), DRAWN_A_TURN):
            if inference.deadline is not None and time.monotonic() > inference.deadline:
                raise DeadlineExceeded("the deadline passed while pictures were drawn; ask for fewer, or allow more time")
            parts.append(draw(data[first : first + DRAWN_A_TURN]))
            time.sleep(0)  # The event loop gets its turn.
        return np.concatenate(parts) if parts else draw(data)

    def check_drawn(self, count: int) -> None:
        """Raise AskedTooMuch if so many items are not drawn as pictures in one answer."""
        if count > MOST_DRAWN:
            raise AskedTooMuch(
                f"the answer would show {count} {self.things} as pictures; at most {MOST_DRAWN} are drawn in one answer: ask "
                f"for fewer, or for format={self.formats[0]} without view=picture"
            )

    def cost(self, data: NDArray[Any], drawn: bool) -> int:
        """Return how long writing data (N, ...) takes, as bytes of JSON that take as long."""
        return COST_OF_DRAWING * len(data) if drawn else BYTES_PER_NUMBER * data.size

    def parts(self, model: ServedModel, each: NDArray[np.float64]) -> dict[str, Any]:
        """Return the fields of JSON answers that say what each part of an item adds to a score, (N, parts)."""
        return {}

    def reconstructed(
        self,
        model: ServedModel,
        items: RawItems,
        originals: NDArray[Any],
        data: NDArray[Any],
        whole: bool,
        form: Format | None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Return the data of an answer about reconstructions, and more fields for JSON.

        `items` were sent, `originals` are their rows. `whole`: nothing that was sent stays. `form`: that of the answer, None
        if it shows pictures.
        """
        return data, {}

    def read_text(self, model: ServedModel, body: Body) -> RawItems:
        """Return the items of a body of text. Raises BadInput."""
        raise self.refused(model, body)

    def read_files(self, model: ServedModel, body: Body, files: Sequence[bytes]) -> RawItems:
        """Return the items of the files of a form. Raises BadInput."""
        raise Unusable(f"{self._takes(model)}, not files in a form")

    def read(self, model: ServedModel, body: Body) -> RawItems:
        """Return the items of a body, counted but not made rows yet. Raises BadInput, TooLarge."""
        match body.kind:
            case "empty":
                raise Undecodable(f"the body is empty: {self.send}")
            case "json":
                return self._json_items(model, body)
            case "text":
                found = self.read_text(model, body)
            case "form":
                parts = [part for part in body.parts if part.name == self.many]
                if not parts:
                    names = sorted({part.name for part in body.parts if part.name in FILES})
                    raise Unusable(f"{self._takes(model)}, or a form with files in {self.many!r}" + _not(names))
                body.check_count(parts)
                found = self.read_files(model, body, [part.data for part in parts])
            case _:
                raise self.refused(model, body)
        body.check_count(found)
        if not len(found):
            raise Unusable(f"there are no {self.things} in the body; at least one is needed")
        return found

    def read_beside(self, model: ServedModel, body: Body, beside: Beside) -> tuple[RawItems, list[str] | None, list[Metadata]]:
        """Return the items of a body, their ids, and their metadata, which columns of it have. Raises BadInput, TooLarge."""
        raise Unusable(f"id_column and metadata_columns are for tables, but {model.name!r} is a model of {self.things}")

    def refused(self, model: ServedModel, body: Body) -> Unusable:
        """Return the error about a body of another kind of data."""
        return Unusable(f"{self._takes(model)}, not {A_KIND[body.kind]}")

    def _json_items(self, model: ServedModel, body: Body) -> RawItems:
        given = sorted(body.values.keys() & set(DATA_KEYS))
        if others := [key for key in given if key not in (self.many, self.one)]:
            raise Unusable(f"{self._takes(model)}, not {others[0]!r}")
        if len(given) == 2:
            raise Unusable(f"the JSON body has both {self.many!r} and {self.one!r}, which mean the same; send one of them")
        if given == [self.one]:
            self.check(body.values[self.one])
            return RawItems([body.values[self.one]], alone=True)
        items = body.values.get(self.many)
        if not isinstance(items, list) or not items:
            found = "which it does not have" if items is None else f"not {json_type(items) if items != [] else 'an empty one'}"
            raise Unusable(f"the JSON body needs {self.many!r}, a list of one or more {self.things}, {found}: {self.send}")
        body.check_count(items)
        for item, value in enumerate(items):
            self.check(value, item)
        return RawItems(items)

    def _takes(self, model: ServedModel) -> str:
        return f"{model.name!r} is a model of {self.things}; {self.send}"


def _not(names: Sequence[str]) -> str:
    return f", not in {names[0]!r}" if names else ""
