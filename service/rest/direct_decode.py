"""Serves plain requests to /decode directly: a few latents, as JSON or npy, to the means of their pictures.

Draws of pixels, and answers that may be long, are left to the operation. So are errors.
"""

import math
from collections.abc import Mapping

import orjson

from service.formats.errors import BadInput
from service.formats.latent_rows import latent_rows
from service.formats.npy import NPY_MAGIC, npy_array
from service.http.direct import Asked
from service.inference.catalog import UnknownModel
from service.inference.inference import Inference
from service.inference.served_model import Floats, ServedModel
from service.operations.service import Service
from service.rest.answers import items_answer, lines_of
from service.rest.kinds import PICTURES
from service.rest.negotiation import Format, answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.scaling import choose_scale
from service.rest.schemas import DecodeParameters

# The pictures of an answer have at most so many values, enlarged, so that it is short in every format.
MOST_VALUES = 1 << 13


class DirectDecode:
    """A `Direct` of /decode."""

    def __init__(self, parameters: DecodeParameters, form: Format, accept: str) -> None:
        """Serve requests with these parameters in the query."""
        self._parameters, self._form, self._accept = parameters, form, accept

    def rows(self, service: Service, body: bytes) -> Asked | None:
        """Return the latents of a body, float32 (N, D)."""
        try:
            model = service.pipeline.catalog.get(self._parameters.model)
            if not model.is_direct or model.condition is not None:
                return None
            if body.startswith(NPY_MAGIC):
                z = latent_rows(npy_array(body), model.latent_dim)
            else:
                values = orjson.loads(body) if body.startswith(b"{") else {}
                latents = values.get("z", values.get("mu")) if len(values) == 1 else None
                # A key may be there twice; its items count, too.
                if not isinstance(latents, list) or body.count(b"[") != len(latents) + 1:
                    return None
                z = latent_rows(latents, model.latent_dim)
            size = len(z) * math.prod(model.shape) * self._scale(model, len(z)) ** 2 if len(z) else math.inf
        except (UnknownModel, BadInput, BadParameter, ValueError):  # The operation will tell what is wrong.
            return None
        return None if size > MOST_VALUES else (model, model.decode, z)

    def _scale(self, model: ServedModel, count: int) -> int:
        return choose_scale(self._parameters, self._form, self._accept, count, model.shape)

    def body(self, model: ServedModel, rows: Floats, results: Floats) -> bytes:
        """Write mean pictures (N, H, W, C)."""
        scale = self._scale(model, len(rows))
        return items_answer(results, self._form, Inference(model), self._parameters, scale=scale).body

    def lines(self, model: ServedModel) -> bytes:
        """Return the header lines of an answer."""
        return lines_of(model.label, self._form)


def direct_decode(headers: Mapping[str, str], query: str) -> DirectDecode | None:
    """Return what serves plain requests with these headers and this query; None if they ask for more."""
    try:
        parameters = read_parameters(DecodeParameters, query)
    except BadParameter:
        return None
    accept = headers.get("accept", "")
    form = answer_format(parameters.format, accept, PICTURES.formats)
    if form not in PICTURES.formats:
        return None
    is_form = headers.get("content-type", "").lower().startswith("multipart/")
    if is_form or parameters.timeout_ms is not None or parameters.pixels != "mean" or parameters.label is not None:
        return None
    return DirectDecode(parameters, form, accept)
