"""/traverse: what the dimensions and directions of a latent space do, in rows of pictures."""

import math
from functools import partial
from typing import Any

import numpy as np

from models.mosaic import tile
from service.formats import pictures as codecs
from service.formats import png
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations import traverse as operations
from service.operations.service import Service
from service.operations.traverse import DEFAULT_ROWS, Dims, Row, Traversal
from service.rest.answers import answer, data_answer
from service.rest.arrangement import GAP_PIXELS, enlarge, tiled_size
from service.rest.kinds import answering, cost_of, format_of, wire_of
from service.rest.negotiation import Format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.point_schemas import TraversalAnswer, TraverseBody, TraverseParameters
from service.rest.points import LISTS_PER_POINT, POINT_ERRORS, open_points, points_of
from service.rest.registration import (
    BINARY,
    FORM_OF_PICTURES,
    PICTURE_EXAMPLE,
    PICTURES,
    Router,
    add,
    describe_operation,
    json_content,
)
from service.rest.requests import body_of
from service.rest.scaling import fit_scale

router = Router(tags=["inference"])

FILES = {f"image/{kind}": BINARY for kind in ("png", "webp", "gif")}


async def traverse(service: Service, call: Call) -> Answer:
    """Return rows of pictures. In each, one dimension or direction of the latent goes through its values, all others stay.

    A PNG has one row of pictures for each dimension, those of the first point above those of the next. An animation shows all
    rows at once, there and back. Without a body, the rows go through 0, the mean of N(0, I).
    """
    body = await body_of(service, call, LISTS_PER_POINT, takes_text=True)
    parameters = read_parameters(TraverseParameters, call.query, *body.parameters(TraverseParameters))
    accept = call.headers.get("accept", "")
    inference, collection = await open_points(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, frames=True, view=parameters.view)
    dims = _dims(parameters.dims)
    points = None
    if body.kind not in ("empty", "json") or not body.values.keys().isdisjoint(parameters.payload):
        points = await service.pipeline.offload(len(call.body), partial(points_of, body, inference, collection))
    steps = parameters.steps
    rows = (1 if points is None else len(points)) * operations.rows_of(inference, dims)
    scale = _scale(parameters, form, accept, rows, inference) if rows * steps <= service.pipeline.max_items else 1
    found = await operations.traverse(
        service.pipeline, service.store, inference, points, dims, steps, parameters.over, parameters.span, collection
    )
    render = partial(_answer, found, form, inference, parameters, scale)
    return await service.pipeline.offload(cost_of(inference, found.decoded, form, parameters.view, scale), render)


def _dims(text: str | None) -> Dims:
    """Return what a text that `dims_text` has checked means. Raises BadParameter for a dimension that is there twice."""
    if text is None:
        return Dims()
    kind, _, count = text.partition(":")
    if not kind[0].isdigit():
        return Dims("top" if kind == "top" else "local", int(count or DEFAULT_ROWS))
    listed = tuple(map(int, text.split(",")))
    seen: set[int] = set()
    for j in listed:
        if j in seen:
            raise BadParameter(f"dims has {j} twice; list each dimension once")
        seen.add(j)
    return Dims("listed", listed=listed)


def _scale(parameters: TraverseParameters, form: Format, accept: str, rows: int, inference: Inference) -> int:
    """Return the factor by which files are enlarged. Raises BadParameter."""
    if form in ("json", "npy"):
        return 1
    steps, shape = parameters.steps, inference.model.shape[:2]
    if form == "png":
        return fit_scale(parameters.scale, form, accept, tiled_size(rows, steps, shape), 1, rows * steps)
    size = tiled_size(math.ceil(rows / _columns(rows)), _columns(rows), shape)
    return fit_scale(parameters.scale, form, accept, size, 2 * steps - 2, rows * steps)


def _columns(rows: int) -> int:
    """Return how many rows of a traversal stand beside each other in a frame of an animation, which is nearly square."""
    return math.ceil(math.sqrt(rows))


def _answer(found: Traversal, form: Format, inference: Inference, parameters: TraverseParameters, scale: int) -> Answer:
    steps, rows = parameters.steps, len(found.rows)
    if form in ("json", "npy"):
        # "rows" are the data of tables.
        key = "rows" if answering(inference.model, parameters.view).many != "rows" else "traversed"
        fields: dict[str, Any] = {key: [_described(row) for row in found.rows], "over": parameters.over, "steps": steps}
        if "z" in parameters.include:
            fields["z"] = found.z
        return data_answer(found.decoded, form, inference, parameters.dtype, fields, view=parameters.view)
    if form not in ("png", "webp", "gif"):
        return data_answer(found.decoded, form, inference, parameters.dtype)
    pixels = wire_of(inference.model).pictures(inference, found.decoded)
    if form == "png":
        return answer(png.write(enlarge(tile(pixels, steps, GAP_PIXELS), scale)), form, inference)
    there = [tile(pixels[step::steps], _columns(rows), GAP_PIXELS) for step in range(steps)]
    frames = np.stack(there + there[-2:0:-1])  # and back, without the ends
    return answer(codecs.animation(list(enlarge(frames, scale)), form), form, inference)


def _described(row: Row) -> dict[str, Any]:
    own = {"dim": row.dim, "kl": row.kl, "direction": row.direction, "change": row.change}
    return {"item": row.item, **{name: value for name, value in own.items() if value is not None}, "values": row.values}


add(
    router,
    "/traverse",
    ["POST"],
    traverse,
    "Traverse: what each dimension of the latent space does to pictures",
    describe_operation(
        TraverseParameters,
        {**json_content(TraversalAnswer), "application/x-npy": BINARY, **FILES},
        {
            **json_content(TraverseBody, {"image": PICTURE_EXAMPLE, "dims": "local:4", "steps": 7}),
            "multipart/form-data": {"schema": FORM_OF_PICTURES},
            **PICTURES,
            "application/x-npy": BINARY,
        },
        body_required=False,
        errors=POINT_ERRORS,
    ),
    scope="infer",
    label="traverse",
    name="traverse",
)
