"""/collections/{name}/density, /compare and /coverage: a collection as a density."""

from functools import partial
from typing import Any

from service.formats.errors import Unsupported, Unusable
from service.http.call import Answer, Call
from service.operations import compare as comparisons
from service.operations import coverage as coverages
from service.operations import density as operations
from service.operations.density import Chosen
from service.operations.service import Service
from service.rest.answers import json_answer, unknown_keys
from service.rest.bodies import A_KIND
from service.rest.density_schemas import (
    CompareAnswer,
    CompareParameters,
    CoverageAnswer,
    CoverageParameters,
    DensityAnswer,
    DensityParameters,
    TwoFilters,
)
from service.rest.item_bodies import LISTS_PER_ITEM, queries_of, unnumbered
from service.rest.parameters import read_parameters
from service.rest.paths import COLLECTION_PATH
from service.rest.registration import BINARY, ERRORS, FORM_OF_PICTURES, PICTURES, Router, add, describe_operation, json_content
from service.rest.requests import body_of, model_in, open_collection, query_parameters
from service.rest.search_schemas import QueryBody
from service.store.filters import Condition, parse_filter
from service.store.snapshot import Snapshot

router = Router()

CONFLICTS = (*ERRORS, 403, 409)


async def density(service: Service, call: Call) -> Answer:
    """Return the log density of pictures, latents or items under the stored posteriors, the mixture of N(mu, sigma^2 + h^2).

    It is computed at mu; a sigma of a query is not used. A query by id leaves its own item out. Bodies are those of a search.
    """
    body = await body_of(service, call, LISTS_PER_ITEM, takes_text=True)
    parameters = read_parameters(DensityParameters, call.query, *body.parameters(DensityParameters))
    collection, _, inference = await open_collection(service, call, parameters)
    body.deadline = inference.deadline
    queries, alone = await service.pipeline.offload(
        len(call.body), partial(queries_of, body, collection.dim, model_in(service, collection))
    )
    with unnumbered(alone):
        found = await operations.density(
            service.pipeline,
            service.store,
            inference,
            collection,
            queries,
            parameters.filter,
            parameters.bandwidth,
            parameters.k,
            parameters.strict,
        )
    fields = {
        "log_density": found.log_density,
        "percentile": found.percentile,
        "ids": found.nearest,
        "percentile_sample": found.sample,
        **_counts(found.snapshot),
        **described_bandwidth(found.bandwidth),
        **_state(found.snapshot),
    }
    return json_answer(fields, collection, inference)


async def compare(service: Service, call: Call) -> Answer:
    """Compare two sets of items, found by two filters, as densities: the log ratio at each item of both, or at queries.

    This is differential abundance: above 0, the first set is the more frequent there. Items of a set are left out of its own
    density. One bandwidth serves both sets.
    """
    body = await body_of(service, call, LISTS_PER_ITEM)
    if body.kind != "json":
        raise Unsupported(f"send JSON with two filters, a and b, not {A_KIND[body.kind]}")
    parameters = read_parameters(CompareParameters, call.query, *body.parameters(CompareParameters))
    filters = _filter(body.values, "a"), _filter(body.values, "b")
    collection, _, inference = await open_collection(service, call, parameters)
    queries = None
    if "queries" in body.values:
        queries, _ = await service.pipeline.offload(
            len(call.body), partial(queries_of, body, collection.dim, model_in(service, collection))
        )
    found = await comparisons.compare(
        service.pipeline,
        service.store,
        inference,
        collection,
        filters,
        queries,
        parameters.bandwidth,
        parameters.cursor,
        parameters.limit,
        parameters.strict,
    )
    a, b = found.sets
    fields = {
        "ids": found.ids,
        "log_ratio": found.log_ratio,
        "log_density_a": found.log_density[0],
        "log_density_b": found.log_density[1],
        "in_a": found.in_set[0],
        "in_b": found.in_set[1],
        "a": _counts(a),
        "b": _counts(b),
        "cursor": found.cursor,
        **described_bandwidth(found.bandwidth),
        "seq": a.seq,
        **unknown_keys(tuple({one.key: one for one in (*a.unknown, *b.unknown)}.values())),
    }
    return json_answer(fields, collection, inference)


async def coverage(service: Service, call: Call) -> Answer:
    """Return how much of the prior's mass the stored posteriors cover: alpha-precision (Alaa et al. 2022), alpha = 0.95.

    It is the share of draws from the prior that fall where 95 % of the posteriors' own mass lies. A prior that equals the
    stored posteriors together has 0.95.
    """
    parameters = query_parameters(CoverageParameters, call)
    collection, _, inference = await open_collection(service, call, parameters)
    found, snapshot = await coverages.coverage(
        service.pipeline,
        service.store,
        inference,
        collection,
        parameters.filter,
        parameters.bandwidth,
        parameters.prior,
        parameters.draws,
        parameters.seed,
        parameters.strict,
    )
    fields = {
        "coverage": found.share,
        "standard_error": found.standard_error,
        "threshold": found.threshold,
        "alpha": coverages.ALPHA,
        "prior": found.prior,
        "draws": found.draws,
        "seed": parameters.seed,
        "reference": found.reference,
        **_counts(snapshot),
        **described_bandwidth(found.bandwidth),
        **_state(snapshot),
    }
    return json_answer(fields, collection, inference)


def _filter(values: dict[str, Any], key: str) -> tuple[Condition, ...]:
    """Return a filter of the body. Raises Unusable, BadFilter."""
    if values.get(key) is None:
        example = '{"a": {"label": 7}, "b": {"label": 1}}'
        raise Unusable(f"the JSON body needs two filters, a and b, such as {example}; {key} is missing")
    return parse_filter(values[key], key)


def _counts(snapshot: Snapshot) -> dict[str, int]:
    return {"count": len(snapshot), "without_sigma": int((~snapshot.has_sigma).sum())}


def described_bandwidth(bandwidth: Chosen) -> dict[str, Any]:
    """Return the fields of an answer that name its bandwidth, and by how many items it was found."""
    return {"bandwidth": bandwidth.value, "bandwidth_sample": bandwidth.sample or None}


def _state(snapshot: Snapshot) -> dict[str, Any]:
    return {"seq": snapshot.seq, **unknown_keys(snapshot.unknown)}


register = partial(add, router, scope="store", tag="densities")
register(
    "/collections/{name}/density",
    ["POST"],
    density,
    "How dense the collection is at pictures or latents",
    describe_operation(
        DensityParameters,
        json_content(DensityAnswer),
        {
            **json_content(QueryBody, {"mu": [0.5] * 20, "k": 3}),
            "multipart/form-data": {"schema": FORM_OF_PICTURES},
            **PICTURES,
            "application/x-npy": BINARY,
        },
        path=COLLECTION_PATH,
        errors=CONFLICTS,
    ),
    label="density",
    name="density_of_collection",
)
register(
    "/collections/{name}/compare",
    ["POST"],
    compare,
    "Two sets of items, compared as densities",
    describe_operation(
        CompareParameters,
        json_content(CompareAnswer),
        json_content(TwoFilters, {"a": {"label": 7}, "b": {"label": 1}, "limit": 10}),
        path=COLLECTION_PATH,
        errors=CONFLICTS,
    ),
    label="compare",
    name="compare_in_collection",
)
register(
    "/collections/{name}/coverage",
    ["GET"],
    coverage,
    "How much of the prior the collection covers",
    describe_operation(CoverageParameters, json_content(CoverageAnswer), {}, path=COLLECTION_PATH, errors=CONFLICTS),
    label="coverage",
    name="coverage_of_collection",
)
