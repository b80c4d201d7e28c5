"""How data of each kind travel in requests and answers. To add a kind, add one file in this folder and one line below."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import ServedModel
from service.rest.bodies import Body
from service.rest.kinds.pictures import PicturesWire
from service.rest.kinds.rows import RowsWire
from service.rest.kinds.strokes import StrokesWire
from service.rest.kinds.texts import TextsWire
from service.rest.kinds.viewed import ViewedWire
from service.rest.kinds.wire import ANIMATIONS, Wire
from service.rest.negotiation import Format

WIRES: Mapping[str, Wire] = {
    "picture": PicturesWire(),
    "table": RowsWire(),
    "strokes": StrokesWire(),
    "text": TextsWire(),
}
DRAWN: tuple[Format, ...] = ("png", *ANIMATIONS)
PICTURES, VIEWED = WIRES["picture"], ViewedWire()


def format_of(model: ServedModel, chosen: Format | None, accept: str, frames: bool = False, view: str | None = None) -> Format:
    """Return the format of an answer with data of a model; `frames`: it may also be an animation. Raises BadParameter."""
    return answering(model, view).format(model, chosen, accept, frames)


def raw_items_of(body: Body, model: ServedModel) -> RawItems:
    """Return the data of a body, counted but not decoded. Raises BadInput, TooLarge."""
    return wire_of(model).read(model, body)


async def items_in(pipeline: Pipeline, body: Body, inference: Inference) -> RawItems:
    """Return the data of a body as `raw_items_of` does; a thread reads a long text, until the deadline.

    Raises BadInput, TooLarge, DeadlineExceeded.
    """
    body.deadline = inference.deadline
    size = len(body.raw) if body.kind in ("text", "form") and not inference.model.is_pictures else 0
    return await pipeline.offload(size, partial(raw_items_of, body, inference.model))


def answering(model: ServedModel, view: str | None) -> Wire:
    """Return how answers have the data of a model; with view=picture, as pictures."""
    return wire_of(model) if view is None or model.is_pictures else VIEWED


def as_viewed(inference: Inference, data: NDArray[Any], view: str | None) -> tuple[Wire, NDArray[Any]]:
    """Return how answers have data (N, ...) of a model, and what; with view=picture, uint8 (N, H, W, C)."""
    wire = answering(inference.model, view)
    return wire, wire_of(inference.model).pictures(inference, data) if wire is VIEWED else data


def cost_of(inference: Inference, data: NDArray[Any], form: Format, view: str | None, scale: int = 1) -> int:
    """Return how long an answer with data (N, ...) takes to write, as bytes of JSON that take as long."""
    return wire_of(inference.model).cost(data, form in DRAWN or view is not None) * scale**2


def check_drawn(model: ServedModel, count: int, form: Format, view: str | None) -> None:
    """Raise AskedTooMuch if an answer would draw more rows, drawings or texts as pictures than it may."""
    if not model.is_pictures and (form in DRAWN or view is not None):
        wire_of(model).check_drawn(count)


def wire_of(model: ServedModel) -> Wire:
    """Return how the data of a model travel."""
    return WIRES[model.manifest.model.kind]
