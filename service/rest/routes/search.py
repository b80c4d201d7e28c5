"""/collections/{name}/search: what is nearest to a picture, a posterior or an item."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from numpy.typing import NDArray

from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.operations import search as operations
from service.operations.search import SearchResult
from service.operations.service import Service
from service.rest.answers import described_distance, json_answer, unknown_keys
from service.rest.data_keys import ONES
from service.rest.item_bodies import LISTS_PER_ITEM, queries_of, unnumbered
from service.rest.kinds import cost_of, wire_of
from service.rest.kinds.base64_pictures import base64_bytes
from service.rest.parameters import BadParameter, read_parameters
from service.rest.paths import COLLECTION_PATH
from service.rest.registration import (
    BINARY,
    FORM_OF_PICTURES,
    PICTURES,
    STORE_ERRORS,
    Router,
    add,
    describe_operation,
    json_content,
)
from service.rest.requests import body_of, model_in, open_collection
from service.rest.search_schemas import NeighborsAnswer, QueryBody, SearchParameters
from service.store.interface import Collection, Neighbors

router = Router()

VECTORS = frozenset(("mu", "sigma"))


async def search(service: Service, call: Call) -> Answer:
    """Find the k nearest items, nearest first, ties by id; distances are computed in float64.

    Send one query, as JSON, a picture, a form, or npy: mu (1, D), or mu and sigma (2, 1, D). Several queries, in `queries`,
    in a form or in npy, are answered in `results` in their order.
    """
    body = await body_of(service, call, LISTS_PER_ITEM, takes_text=True)
    parameters = read_parameters(SearchParameters, call.query, *body.parameters(SearchParameters))
    if parameters.candidates is not None:
        if parameters.candidates < parameters.k:
            raise BadParameter(
                f"candidates is {parameters.candidates}, but k is {parameters.k}: candidates must be at least k"
            )
        if parameters.exact:
            raise BadParameter("candidates makes the search approximate: it cannot be combined with exact=true")
    collection, digest, inference = await open_collection(service, call, parameters)
    body.deadline = inference.deadline
    model = model_in(service, collection)
    queries, alone = await service.pipeline.offload(len(call.body), partial(queries_of, body, collection.dim, model))
    include, shown = parameters.include, _shown(parameters.include, model)
    wanted = operations.SearchOptions(
        parameters.k,
        parameters.metric,
        parameters.filter,
        parameters.candidates,
        parameters.exact,
        with_vectors=bool(include & VECTORS),
        with_data=bool(shown),
        strict=parameters.strict,
        exclude_self=parameters.exclude_self,
        sigma_weight=parameters.sigma_weight,
    )
    under_way = operations.search(service.pipeline, service.store, inference, collection, digest, queries, wanted)
    with unnumbered(alone):
        async with under_way as nearest:
            data: dict[str, Iterator[Any]] = {}
            if nearest.decoded is not None and len(nearest.decoded):
                work = partial(_data, nearest.decoded, shown, inference)
                data = await service.pipeline.offload(_cost(nearest.decoded, shown, inference), work)
            render = partial(_answer, nearest, alone, include, data, collection, inference)
            return await service.pipeline.offload(len(queries) * parameters.k * 200, render)


def _answer(
    nearest: SearchResult,
    alone: bool,
    include: frozenset[str],
    data: Mapping[str, Iterator[Any]],
    collection: Collection,
    inference: Inference,
) -> Answer:
    found = nearest.found
    results = [_describe(neighbors, include, data) for neighbors in found.neighbors]
    fields: dict[str, Any] = {"neighbors": results[0]} if alone else {"results": [{"neighbors": one} for one in results]}
    fields |= described_distance(nearest.asked.metric, nearest.asked.sigma_weight)
    fields |= {"exact": found.exact, "seq": found.seq, **unknown_keys(found.unknown)}
    return json_answer(fields, collection, inference)


def _shown(include: frozenset[str], model: ServedModel | None) -> list[str]:
    """Return what to include of the decoded data: an image, or what the model is about. Raises BadParameter."""
    shown = sorted(include & set(ONES))
    for name in shown:
        if model is not None and name not in ("image", wire_of(model).one):
            own = wire_of(model)
            raise BadParameter(
                f"include: {model.name!r} is a model of {own.things}, so include {own.one} or image, not {name}"
            )
    return shown


def _cost(decoded: NDArray[Any], shown: Sequence[str], inference: Inference) -> int:
    return cost_of(inference, decoded, "json", "picture" if "image" in shown else None)


def _data(decoded: NDArray[Any], shown: Sequence[str], inference: Inference) -> dict[str, Iterator[Any]]:
    """Return the decoded data of all neighbours in the forms that are asked for."""
    model, wire = inference.model, wire_of(inference.model)
    return {
        name: iter(base64_bytes(wire.pictures(inference, decoded)) if name == "image" else wire.json(model, decoded))
        for name in shown
    }


def _describe(neighbors: Neighbors, include: frozenset[str], data: Mapping[str, Iterator[Any]]) -> list[dict[str, Any]]:
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
        fields |= {name: next(values) for name, values in data.items()}
        described.append(fields)
    return described


add(
    router,
    "/collections/{name}/search",
    ["POST"],
    search,
    "Similar pictures: the nearest neighbours",
    describe_operation(
        SearchParameters,
        json_content(NeighborsAnswer),
        {
            **json_content(QueryBody, {"mu": [0.5] * 20, "sigma": [0.2] * 20, "k": 3, "metric": "w2", "sigma_weight": 2}),
            "multipart/form-data": {"schema": FORM_OF_PICTURES},
            **PICTURES,
            "application/x-npy": BINARY,
        },
        path=COLLECTION_PATH,
        errors=STORE_ERRORS,
    ),
    scope="store",
    label="search",
    name="search_collection",
    tag="items",
)
