"""All families of endpoints that are always there, in the order in which routes are tried."""

from service.rest.registration import Router
from service.rest.routes import (
    collections,
    combine,
    complete,
    compress,
    deletions,
    density,
    directions,
    edit,
    encode,
    examples,
    generate,
    health,
    interpolate,
    items,
    manifold,
    maps,
    metrics,
    model_map,
    models,
    originals,
    reconstruct,
    score,
    search,
    traverse,
)

# The routes of originals come before those of items, whose ids may contain slashes.
FAMILIES = (
    *(encode, generate, interpolate, reconstruct, score),
    *(combine, traverse, manifold, compress, complete),
    *(collections, originals, items, deletions, search),
    *(directions, edit, density, maps),
    *(models, model_map, examples, health, metrics),
)
ROUTERS: list[Router] = [family.router for family in FAMILIES]
