"""How data of each kind travel in requests and answers. To add a kind, add one file in this folder and one line below."""

from collections.abc import Mapping

from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.rest.bodies import Body
from service.rest.kinds.pictures import PicturesWire
from service.rest.kinds.rows import RowsWire
from service.rest.kinds.strokes import StrokesWire
from service.rest.kinds.texts import TextsWire
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format

WIRES: Mapping[str, Wire] = {
    "picture": PicturesWire(),
    "table": RowsWire(),
    "strokes": StrokesWire(),
    "text": TextsWire(),
}
PICTURES = WIRES["picture"]


def format_of(model: ServedModel, chosen: Format | None, accept: str, frames: bool = False) -> Format:
    """Return the format of an answer with data of a model; `frames`: it may also be an animation. Raises BadParameter."""
    return wire_of(model).format(model, chosen, accept, frames)


def raw_items_of(body: Body, model: ServedModel) -> RawItems:
    """Return the data of a body, counted but not decoded. Raises BadInput, TooLarge."""
    return wire_of(model).read(model, body)


def wire_of(model: ServedModel) -> Wire:
    """Return how the data of a model travel."""
    return WIRES[model.manifest.model.kind]
