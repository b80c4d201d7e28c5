"""Items of any kind in answers with view=picture: what they look like, as pictures travel."""

from service.inference.served_model import ServedModel
from service.rest.kinds.pictures import PicturesWire
from service.rest.negotiation import Format
from service.rest.parameters import BadParameter


class ViewedWire(PicturesWire):
    """Pictures of items. The data are pictures, uint8 (N, H, W, C), of models of any kind."""

    def format(
        self, model: ServedModel, chosen: Format | None, accept: str, frames: bool = False, offered: tuple[Format, ...] = ()
    ) -> Format:
        if chosen in ("csv", "svg", "txt"):
            allowed = ", ".join(self.formats)
            raise BadParameter(
                f"format: with view=picture answers are pictures, not {chosen}: leave view out, or ask for {allowed}"
            )
        return super().format(model, chosen, accept, frames, offered)
