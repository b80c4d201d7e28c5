"""/collections/{name}/search: what is nearest to a picture, a posterior or an item."""

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import orjson

from service.engine.errors import TooLarge
from service.formats import pictures as codecs
from service.formats import png
from service.http.call import Answer, Call
from service.inference.pipeline import Engine, Request
from service.operations.collection_model import active_dimensions, model_of
from service.rest.collection_schemas import NeighborsAnswer, QueryBody, SearchParameters
from service.rest.item_bodies import Entries, queries_of
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import FORM_OF_PICTURES, PICTURE_BODIES, Router, add, describe_operation, schema_of
from service.rest.routes.collections import PATH, STORE_ERRORS, json_answer
from service.rest.routes.items import encode_entries, open_collection, read_entries
from service.store.interface import Collection, Found, Neighbors, Query, Search

router = Router(tags=["latent store"])

# of all queries of a request together: each takes about a kilobyte of memory until it is sent
MOST_NEIGHBORS = 1 << 19
VECTORS = frozenset(("mu", "sigma", "image"))


class TooManyNeighbors(TooLarge):
    """More neighbours than one answer may have."""

    def __init__(self, asked: int, most: int) -> None:
        super().__init__(asked, most)
        self.args = (f"k neighbours of each query are {asked} together, at most {most} are allowed in one answer",)


async def search(engine: Engine, call: Call) -> Answer:
    """The k nearest items, nearest first, ties by id; distances are computed in float64.

    One query, as JSON, as a picture, or as a form; or `queries`, whose answers stand in `results` in their order.
    """
    body = await read_entries(engine, call)
    parameters = read_parameters(SearchParameters, call.query, *body.parameters(SearchParameters))
    if parameters.candidates is not None and (parameters.candidates < parameters.k or parameters.exact):
        raise BadParameter("candidates: must be at least k, and is not exact")
    collection, digest, request = await open_collection(engine, call, parameters)
    entries, alone = await engine.offload(len(call.body), partial(queries_of, body, collection.dim))
    _check_size(engine, collection, parameters, len(entries))
    with engine.searches.admit(len(entries)):
        await encode_entries(engine, entries, collection, request)
        wanted = Search(
            _queries(entries),
            parameters.k,
            parameters.metric or collection.metric,
            parameters.filter,
            parameters.candidates,
            parameters.exact,
            active_dimensions(engine, collection) if parameters.active_only else None,
            with_vectors=bool(parameters.include & VECTORS),
        )
        found = await engine.in_time(engine.store.search(collection.name, digest, wanted), request.deadline)
        pictures = await _decode(engine, collection, found, request) if "image" in parameters.include else None
        answer = partial(_answer, found, wanted.metric, alone, parameters.include, pictures, collection, request)
        return await engine.offload(len(entries) * parameters.k * 200, answer)


def _check_size(engine: Engine, collection: Collection, parameters: SearchParameters, queries: int) -> None:
    """Before anything is done. Raises TooManyNeighbors."""
    asked, most = queries * min(parameters.k, collection.count), MOST_NEIGHBORS
    if "image" in parameters.include:
        asked, most = queries * parameters.k, engine.max_items
    if asked > most:
        raise TooManyNeighbors(asked, most)


def _queries(entries: Entries) -> list[Query]:
    """A query without sigma is a point; which metrics can do with that the store knows."""
    return [
        Query(id=id)
        if id is not None and entries.images[i] is None
        else Query(entries.mu[i], entries.sigma[i] if entries.has_sigma[i] else None)
        for i, id in enumerate(entries.ids)
    ]


async def _decode(engine: Engine, collection: Collection, found: Found, request: Request) -> list[str]:
    """Decoded latents of all neighbours as base64 PNG, in order. Raises ModelNotLoaded, BatcherError."""
    z = np.concatenate([neighbors.items.mu for neighbors in found.neighbors])
    if not len(z):
        return []
    request.model = model_of(engine, collection)
    pixels = await engine.through(request.model.decode, np.ascontiguousarray(z), request)

    def encoded() -> list[str]:
        return [base64.b64encode(png.write(picture)).decode("ascii") for picture in codecs.to_uint8(pixels)]

    return await engine.offload(pixels.nbytes, encoded)


def _answer(
    found: Found,
    metric: str,
    alone: bool,
    include: frozenset[str],
    pictures: list[str] | None,
    collection: Collection,
    request: Request,
) -> Answer:
    images = None if pictures is None else iter(pictures)
    results = [_describe(neighbors, include, images) for neighbors in found.neighbors]
    fields: dict[str, Any] = {"neighbors": results[0]} if alone else {"results": [{"neighbors": one} for one in results]}
    return json_answer({**fields, "metric": metric, "exact": found.exact, "seq": found.seq}, collection, request)


def _describe(neighbors: Neighbors, include: frozenset[str], images: Iterator[str] | None) -> list[dict[str, Any]]:
    items, described = neighbors.items, []
    for i, id in enumerate(items.ids):
        fields = {
            "id": id,
            "distance": float(neighbors.distances[i]),
            "metadata": orjson.Fragment(items.metadata[i]),
        }
        if "mu" in include:
            fields["mu"] = items.mu[i]
        if "sigma" in include:
            fields["sigma"] = items.sigma[i] if items.has_sigma[i] else None
        if images is not None:
            fields["image"] = next(images)
        described.append(fields)
    return described


add(
    router,
    "/collections/{name}/search",
    ["POST"],
    search,
    "Nearest neighbours",
    describe_operation(
        SearchParameters,
        {"application/json": {"schema": schema_of(NeighborsAnswer)}},
        {
            "application/json": {
                "schema": schema_of(QueryBody),
                "example": {"mu": [0.5] * 20, "sigma": [0.2] * 20, "k": 3, "metric": "w2"},
            },
            "multipart/form-data": {"schema": FORM_OF_PICTURES},
            "image/png": PICTURE_BODIES["image/png"],
        },
        path=PATH,
        errors=STORE_ERRORS,
    ),
    scope="store",
    label="search",
)
