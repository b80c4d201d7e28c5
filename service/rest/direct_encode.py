"""Serves plain requests to /encode directly: one small picture, or a few rows of npy, of exactly the model's size and mode.

Pictures that need more, and parameters that ask for more than mu and sigma as JSON, are left to the operation. So are errors.
"""

import binascii
from collections.abc import Mapping

import numpy as np
import orjson

from models.preprocess import Pixels
from service.formats import png
from service.formats.errors import BadInput
from service.formats.json_values import json_bytes
from service.formats.npy import NPY_MAGIC, npy_array, picture_rows
from service.http.direct import Asked
from service.inference.catalog import UnknownModel
from service.inference.inference import Inference
from service.inference.kinds.picture_encoding import look_at
from service.inference.picture_warnings import is_flat
from service.inference.served_model import Floats, ServedModel
from service.operations.service import Service
from service.rest.answers import lines_of, warnings_of
from service.rest.negotiation import answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.schemas import EncodeParameters

# Limits of all latents together and of rows, each of which may have a warning, so that the answer is short.
MOST_DIMENSIONS, MOST_ROWS = 2000, 32


class DirectEncode:
    """A `Direct` of /encode."""

    def __init__(self, model: str | None) -> None:
        """Serve requests to a model; None: the default."""
        self._name = model

    def rows(self, service: Service, body: bytes) -> Asked | None:
        """Return the pictures of a body, uint8 (N, C, H, W), none of them inverted, flat or float."""
        try:
            model = service.pipeline.catalog.get(self._name)
        except UnknownModel:
            return None
        if not model.is_direct:
            return None
        spec = model.manifest.preprocessing
        if model.condition or spec.invert != "no" or spec.height * spec.width > service.pipeline.max_pixels:
            return None
        rows = _npy_rows(body, model.shape) if body.startswith(NPY_MAGIC) else _picture(body, spec.shape)
        if rows is None or len(rows) > MOST_ROWS or len(rows) * model.latent_dim > MOST_DIMENSIONS:
            return None
        for pixels in rows:
            if is_flat(pixels):  # It may get a warning.
                return None
        return model, model.encode, rows

    def body(self, model: ServedModel, rows: Pixels, results: Floats) -> bytes:
        """Write posteriors (N, 3, D) as JSON."""
        mu, sigma = np.ascontiguousarray(results[:, 0]), np.ascontiguousarray(results[:, 1])
        fields = {"model": model.name, "mu": mu, "sigma": sigma}
        if model.kl_check is not None and (suspects := model.kl_check.suspects(results)):
            inference = Inference(model)
            look_at(inference, rows, results, 0, suspects)
            fields |= warnings_of(inference)
        return json_bytes(fields)

    def lines(self, model: ServedModel) -> bytes:
        """Return the header lines of an answer."""
        return lines_of(model.label, "json")


def direct_encode(headers: Mapping[str, str], query: str) -> DirectEncode | None:
    """Return what serves plain requests with these headers and this query; None if they ask for more."""
    try:
        parameters = read_parameters(EncodeParameters, query)
    except BadParameter:
        return None
    form = answer_format(parameters.format, headers.get("accept", ""), ("json", "npy"))
    asked = parameters.model_dump(exclude_defaults=True, exclude={"model", "format", "seed"})
    is_form = headers.get("content-type", "").lower().startswith("multipart/")
    return None if form != "json" or asked or is_form else DirectEncode(parameters.model)


def _npy_rows(body: bytes, shape: tuple[int, int, int]) -> Pixels | None:
    try:
        rows = picture_rows(npy_array(body), shape)
    except BadInput:
        return None
    return rows if rows.dtype == np.uint8 and len(rows) else None


def _picture(body: bytes, shape: tuple[int, int, int]) -> Pixels | None:
    """Return the picture (1, C, H, W) of a body that is a PNG, or JSON with nothing but one in plain base64."""
    if body.startswith(b"{"):
        if body.count(b"[") > 1:  # A key may be there twice; its items count, too.
            return None
        try:
            values = orjson.loads(body)
            texts = [values["image"]] if "image" in values else values.get("images")
            if len(values) > 1 or not isinstance(texts, list) or len(texts) != 1 or not isinstance(texts[0], str):
                return None
            body = binascii.a2b_base64(texts[0], strict_mode=True)
        except ValueError:  # It is not JSON, or not base64.
            return None
    pixels = png.read_plain(body, *shape)
    return None if pixels is None else pixels[None]
