"""/collections/{name}/map: the items of a collection on a plane, or their density over it."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Pixels
from service.formats import png
from service.formats.colours import colours
from service.formats.npy import npy
from service.http.call import Answer, Call
from service.latents.plane import HIGH_SHARE, HOLE_RATIO
from service.observe.printable import header_value
from service.operations import collection_map as operations
from service.operations.collection_map import DensityMap, Points, check_plane
from service.operations.density import LONG
from service.operations.service import Service
from service.rest.answers import json_answer, plane_json, unknown_keys
from service.rest.arrangement import enlarge
from service.rest.density_schemas import MapAnswer, MapParameters
from service.rest.negotiation import MEDIA_TYPES, Format, answer_format, is_browser
from service.rest.parameters import BadParameter, two_dims
from service.rest.paths import COLLECTION_PATH
from service.rest.registration import BINARY, Router, add, describe_operation, json_content
from service.rest.requests import open_collection, query_parameters
from service.rest.routes.density import CONFLICTS, described_bandwidth
from service.rest.scaling import BROWSER_PIXELS
from service.store.interface import Collection

router = Router()

# Parameters that have no effect without a density, and with one.
OF_DENSITY, OF_POINTS = ("bandwidth", "prior"), ("keys", "limit")
# The longest side of a PNG.
MOST_PIXELS = 4096
# Cells that are holes have this colour, mixed with that of their density.
HOLE = np.array([214.0, 39.0, 40.0])
# The colours show density^ROOT, so that low densities can be told apart.
ROOT = 0.5
HOLE_RULE = (
    f"a cell is a hole if it is among the fewest cells with {HIGH_SHARE:.0%} of the prior's mass on the map, and the items' "
    f"density there is below the prior's divided by {HOLE_RATIO:g}"
)


async def collection_map(service: Service, call: Call) -> Answer:
    """Return the items on a plane with their ids, in their order; or with `density` the density of their posteriors over it.

    npy has the coordinates, float32 (N, 2); of a density, float64 (2, n, n): density and holes, whose first row is the lowest
    y. X-Range has the ends of both axes: x0,x1,y0,y1. A PNG has the highest y on top, and holes in red.
    """
    parameters = query_parameters(MapParameters, call)
    _check_parts(parameters)
    accept = call.headers.get("accept", "")
    offered: tuple[Format, ...] = ("json", "npy", "png") if parameters.density else ("json", "npy")
    form = answer_format(parameters.format, accept, offered)
    if form == "png" and not parameters.density:
        raise BadParameter("format=png is for a density: add density=128, or choose json or npy for points")
    scale = _scale(parameters, accept) if form == "png" else 1
    collection, _, inference = await open_collection(service, call, parameters)
    check_plane(None, collection.dim)
    dims = None if parameters.dims is None else two_dims(parameters.dims, collection.dim)
    where = service.pipeline, service.store, inference, collection
    if parameters.density is None:
        keys = parameters.keys if form == "json" else ()
        found = await operations.points(*where, dims, parameters.filter, keys, parameters.limit, parameters.strict)
        return await service.pipeline.offload(LONG, partial(_points, found, form, dims, collection))
    made = await operations.density_map(
        *where,
        parameters.density,
        dims,
        parameters.filter,
        parameters.bandwidth,
        parameters.prior,
        parameters.strict,
    )
    return await service.pipeline.offload(LONG, partial(_density, made, form, dims, scale, collection))


def _check_parts(parameters: MapParameters) -> None:
    """Raise BadParameter for a parameter that has no effect, or needs another one."""
    if parameters.plane == "dims" and parameters.dims is None:
        raise BadParameter("plane=dims needs dims, two dimensions such as dims=0,3")
    if parameters.plane == "pca" and parameters.dims is not None:
        raise BadParameter("dims is for plane=dims; leave it out, or choose plane=dims")
    for name in OF_DENSITY if parameters.density is None else OF_POINTS:
        if name not in parameters.model_fields_set:
            continue
        if parameters.density is None:
            raise BadParameter(f"{name} is for the map of a density: leave it out, or add density=128")
        raise BadParameter(f"{name} is for the map of points: leave it out, or leave out density")


def _scale(parameters: MapParameters, accept: str) -> int:
    size = parameters.density or 1
    if parameters.scale is None:
        return max(1, round(BROWSER_PIXELS / size)) if is_browser(accept) else 1
    if parameters.scale * size > MOST_PIXELS:
        raise BadParameter(
            f"scale: with scale={parameters.scale} and density={size} the picture would have {parameters.scale * size} pixels "
            f"on a side, at most {MOST_PIXELS} are allowed; use a scale of at most {MOST_PIXELS // size}"
        )
    return parameters.scale


def _binary(body: bytes, form: Format, collection: Collection, ranges: str = "") -> Answer:
    headers = {"x-model": header_value(collection.label), "vary": "accept"}
    return Answer(body, MEDIA_TYPES[form], headers | ({"x-range": ranges} if ranges else {}))


def _json(fields: dict[str, Any], collection: Collection) -> Answer:
    made = json_answer(fields, collection)
    made.headers["vary"] = "accept"
    return made


def _points(found: Points, form: Format, dims: tuple[int, int] | None, collection: Collection) -> Answer:
    coordinates = np.ascontiguousarray(found.coordinates, np.float32)
    if form == "npy":
        return _binary(npy(coordinates), form, collection)
    ids = found.snapshot.ids
    fields = {
        "plane": plane_json(found.plane, dims),
        "count": len(found.snapshot),
        "seq": found.snapshot.seq,
        **unknown_keys(found.snapshot.unknown),
        "ids": ids if len(found.rows) == len(ids) else [ids[row] for row in found.rows.tolist()],
        "points": coordinates,
        **({"metadata": found.metadata} if found.metadata else {}),
    }
    return _json(fields, collection)


def _density(made: DensityMap, form: Format, dims: tuple[int, int] | None, scale: int, collection: Collection) -> Answer:
    ends = [float(one) for one in (made.x[0], made.x[-1], made.y[0], made.y[-1])]
    ranges = ",".join(map(repr, ends))
    if form == "npy":
        return _binary(npy(np.stack([made.density, made.holes.astype(np.float64)])), form, collection, ranges)
    if form == "png":
        return _binary(png.write(enlarge(picture(made.density, made.holes), scale)), form, collection, ranges)
    fields = {
        "plane": plane_json(made.plane, dims),
        "count": made.count,
        "seq": made.seq,
        **unknown_keys(made.unknown),
        "density": made.density,
        "prior_density": made.prior_density,
        "holes": made.holes,
        "hole_rule": HOLE_RULE,
        "prior": made.prior,
        "x_range": ends[:2],
        "y_range": ends[2:],
        "items": made.items,
        **described_bandwidth(made.bandwidth),
    }
    return _json(fields, collection)


def picture(density: NDArray[np.float64], holes: NDArray[np.bool_]) -> Pixels:
    """Return a density (Y, X) as colours, uint8 (Y, X, 3) with the highest y on top; holes are red."""
    most = density.max(initial=0)
    mixed = colours((density / most if most > 0 else density) ** ROOT)
    mixed[holes] = 0.45 * mixed[holes] + 0.55 * HOLE
    pixels: Pixels = np.ascontiguousarray(mixed[::-1].round().astype(np.uint8))
    return pixels


add(
    router,
    "/collections/{name}/map",
    ["GET"],
    collection_map,
    "The items on a plane, or their density over it",
    describe_operation(
        MapParameters,
        {**json_content(MapAnswer), "application/x-npy": BINARY, "image/png": BINARY},
        {},
        path=COLLECTION_PATH,
        errors=CONFLICTS,
    ),
    scope="store",
    label="map",
    name="map_of_collection",
    tag="densities",
)
