"""Bodies -> points of a latent space: pictures, latents, posteriors, or ids of the items of one collection.

Counts and checks before anything is decoded or looked up. Knows nothing of routes.
"""

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unsupported, Unusable, of_points
from service.formats.json_values import json_list
from service.formats.latent_rows import latent_row
from service.formats.npy import npy_array
from service.http.call import Call
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.observe.printable import short
from service.operations.collection_model import digest_of, model_of
from service.operations.items import Entries
from service.operations.points import Points
from service.operations.service import Service
from service.rest.bodies import A_KIND, Body, check_json, latents_of
from service.rest.data_keys import DATA_KEYS
from service.rest.item_bodies import OF_POINTS, POINT_KEYS, blank, check_id, json_entries
from service.rest.kinds import PICTURES, raw_items_of, wire_of
from service.rest.kinds.wire import Wire
from service.rest.parameters import BadParameter
from service.rest.registration import ERRORS
from service.rest.requests import open_any, open_request, suit
from service.rest.schemas import Parameters, PointParameters
from service.store.interface import Collection, UnknownCollection
from service.store.names import is_collection_name

# Each point may have two JSON lists: mu and sigma.
LISTS_PER_POINT = 2
# Keys of latents, which mean the same.
LATENTS = ("z", "mu")
WEIGHTED_KEYS = (*POINT_KEYS, "weight")
MAX_WEIGHT = 100.0
OTHER_MODEL = "leave out model=, or name a collection of that model"
# The statuses of errors: those of inference, and the conflict of a collection with another model.
POINT_ERRORS = (*ERRORS, 409)


async def open_points(service: Service, call: Call, parameters: PointParameters) -> tuple[Inference, Collection | None]:
    """Return the model and the deadline of a call, and the collection that it names for its ids, whose model then answers.

    Raises UnknownModel, BadParameter, MissingScope, StoreError, ModelMismatch, ModelNotLoaded.
    """
    if parameters.collection is None:
        return open_request(service, call, parameters), None
    return await open_collection_of(service, call, parameters, parameters.collection)


async def open_collection_of(service: Service, call: Call, parameters: Parameters, name: str) -> tuple[Inference, Collection]:
    """Return the model and the deadline of a call, and a collection, whose model the former is. Raises as `open_points`."""
    call.need("store")
    if not is_collection_name(name):
        raise UnknownCollection(name[:120])
    inference = open_any(service, call, parameters.model_copy(update={"model": None}))
    collection = await service.store.collection(name, inference.deadline)
    catalog = service.pipeline.catalog
    digest_of(catalog, collection, parameters.model, OTHER_MODEL)
    inference.model = model_of(catalog, collection)
    suit(inference, parameters)
    return inference, collection


def points_of(body: Body, inference: Inference, collection: Collection | None) -> Points:
    """Return pictures as /encode takes them, latents as /decode takes them, or the entries of the JSON list `points`.

    An npy array with two dimensions has latents. Raises BadInput, BadParameter, TooLarge.
    """
    model, body.deadline = inference.model, inference.deadline
    if body.kind == "npy":
        is_latents = npy_array(body.raw).ndim == 2
    elif body.kind == "json":
        wire = wire_of(model)
        known = (wire.many, wire.one, *LATENTS, "points")
        given = [name for name in known if name in body.values]
        if "points" in given and len(given) == 1:
            return listed_points(body, "points", model.latent_dim, collection, wire=wire)
        if not given and not body.values.keys().isdisjoint(DATA_KEYS):
            return wire.read(model, body)  # It says that these are data of another kind.
        if not given or not ({*given} <= {*LATENTS} or {*given} <= {wire.many, wire.one}):
            raise Unusable(f"the JSON body needs one of {', '.join(known)}, but has {' and '.join(given) or 'none of them'}")
        is_latents = not {*LATENTS}.isdisjoint(given)
    else:
        is_latents = False
    if not is_latents:
        return raw_items_of(body, model)
    z = latents_of(body, model.latent_dim, model.name)
    entries = blank([None] * len(z), [None] * len(z), model.latent_dim)
    entries.mu = z
    return entries


def listed_points(
    body: Body,
    key: str,
    dim: int,
    collection: Collection | None,
    keys: tuple[str, ...] = POINT_KEYS,
    wire: Wire = PICTURES,
) -> Entries:
    """Return the points of a list in a JSON body; each is an object that may have the keys. Raises as `points_of`."""
    if body.kind == "empty":
        raise Undecodable(f"the body is empty: send JSON with {key!r}")
    if body.kind != "json":
        raise Unsupported(f"send the {key} as JSON, not as {A_KIND[body.kind]}")
    rows = body.values.get(key)
    if not isinstance(rows, list) or not rows:
        raise Unusable(f"the JSON body needs {key!r}, a list of one or more objects like {OF_POINTS % wire.shown}")
    body.check_count(rows)
    with of_points():
        entries = json_entries(rows, dim, keys, wire)
    check_ids(entries, collection)
    return entries


def weighted_points(
    body: Body, key: str, dim: int, collection: Collection | None, least: float, wire: Wire = PICTURES
) -> tuple[Entries, NDArray[np.float64]]:
    """Return the points of a list, and their weights (N,), from `least` to MAX_WEIGHT and 1 where none is given."""
    points = listed_points(body, key, dim, collection, WEIGHTED_KEYS, wire)
    weights = np.ones(len(points))
    for i, row in enumerate(body.values[key]):
        weight = row.get("weight")
        if weight is None:
            continue
        if type(weight) not in (int, float) or not least <= weight <= MAX_WEIGHT:
            raise Unusable(f"weight must be a number from {least:g} to {MAX_WEIGHT:g}, not {short(weight)}", i, "point")
        weights[i] = weight
    return points, weights


def check_ids(entries: Entries, collection: Collection | None) -> None:
    """Raise BadParameter if there are ids without a collection that they are in."""
    if collection is None and any(id is not None for id in entries.ids):
        raise BadParameter("collection is missing: a point has an id, so the request must name the collection of that item")


def ends_of(
    body: Body, dim: int, model: str = "", collection: Collection | None = None, served: ServedModel | None = None
) -> Entries:
    """Return the start and the end of a path: two points without a sigma. Errors name the `model`. Raises as `points_of`."""
    wire = PICTURES if served is None else wire_of(served)
    ends = blank([None, None], [None, None], dim)
    if body.kind == "empty":
        raise Undecodable("the body is empty: send JSON or a form with start and end")
    if body.kind not in ("json", "form"):
        raise Unsupported(f"send the start and end of a path as JSON or as a form, not as {A_KIND[body.kind]}")
    if body.kind == "json" and body.values.keys().isdisjoint({"start", "end"}):
        raise Unusable("the JSON body needs start and end, or points, or corners")
    for i, name in enumerate(("start", "end")):
        if body.kind == "json":
            _json_end(ends, i, body.values.get(name), name, dim, model, wire)
        else:
            _form_end(ends, i, body, name, dim, model, served)
    check_ids(ends, collection)
    return ends


def _json_end(ends: Entries, i: int, end: object, name: str, dim: int, model: str, wire: Wire) -> None:
    if not isinstance(end, dict) or len(end) != 1 or not end.keys() <= {wire.one, "z", "mu", "id"}:
        raise Unusable(f'{name!r} must be {wire.shown}, {{"z": [...]}}, {{"mu": [...]}} or {{"id": "..."}}')
    ((key, value),) = end.items()
    if key == "id":
        ends.ids[i] = check_id(value, i)
    elif key != wire.one:
        ends.mu[i] = latent_row(value, dim, f"{key} of {name}", model)
    elif wire is not PICTURES:
        wire.check(value, i)
        ends.raw[i] = value
    elif isinstance(value, str):
        ends.raw[i] = value
    else:
        raise Unusable(f"the image of {name!r} must be a string: base64 or a data URL")


def _form_end(ends: Entries, i: int, body: Body, name: str, dim: int, model: str, served: ServedModel | None) -> None:
    found = [part for part in body.parts if part.name == name]
    if len(found) != 1:
        raise Unusable(f"the form must have exactly one field {name!r}, but it has {len(found)}")
    if found[0].filename is None:
        check_json(found[0].data, 1, 1)
        ends.mu[i] = latent_row(json_list(found[0].data, name), dim, name, model)
    elif served is None or served.is_pictures:
        ends.raw[i] = found[0].data
    else:
        own = wire_of(served)
        items = own.read_files(served, body, [found[0].data])
        if len(items) != 1:
            raise Unusable(f"the file in {name!r} has {len(items)} {own.things}, but an end of a path is one")
        ends.raw[i] = items.raw[0] if items.rows is None else items.rows[0]
