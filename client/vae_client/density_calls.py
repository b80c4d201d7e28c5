"""The requests on directions of a collection, and on a collection as a density, as values."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from vae_client import json_body, npy
from vae_client.calls import Call, Options, json_call, names, present, query, warnings_of
from vae_client.collection_calls import path_of, unknown_of
from vae_client.latent_calls import plane_of, points_of
from vae_client.latent_results import Comparison, Coverage, Densities, DensityMap, Direction, ItemMap

T = TypeVar("T")


def _known(kind: type[T], answer: dict[str, Any], **read: Any) -> T:
    """Return a result with the fields of an answer, some of which were read otherwise."""
    fields: Mapping[str, Any] = vars(kind)["__dataclass_fields__"]
    given = {name: answer[name] for name in fields if name in answer}
    if "unknown_keys" in fields:
        given |= unknown_of(answer)
    if "warnings" in fields:
        given["warnings"] = warnings_of(answer)
    return kind(**{**given, **read})


def _direction(fields: dict[str, Any]) -> Direction:
    return _known(
        Direction, fields, vector=npy.floats(fields.get("vector")), orthogonal_to=tuple(fields.get("orthogonal_to") or ())
    )


def _side(side: Any) -> Any:
    """Return one side of a direction: a mapping as it is, else pictures or latents."""
    if isinstance(side, Mapping):
        return side
    points = points_of(side)
    for key, name in (("image", "images"), ("mu", "mu")):
        if all(key in point for point in points):
            return {name: [point[key] for point in points]}
    raise TypeError("a side of a direction has either pictures or latents, not both")


def put_direction(
    collection: str,
    name: str,
    positive: Any,
    negative: Any,
    method: str | None,
    orthogonal_to: Iterable[str],
    options: Options,
) -> Call[Direction]:
    """Make a direction from two sides, or make it anew."""
    body = {"positive": _side(positive), "negative": _side(negative), "orthogonal_to": names(orthogonal_to)}
    sent = {**body, **options.parameters(), **present(method=method)}
    return json_call("PUT", path_of(collection, "directions", name), _direction, options, sent)


def directions(collection: str, options: Options) -> Call[list[Direction]]:
    """All directions of a collection, without their vectors."""
    path = path_of(collection, "directions")
    return json_call("GET", path, lambda answer: [_direction(one) for one in answer["directions"]], options)


def direction(collection: str, name: str, options: Options) -> Call[Direction]:
    """One direction."""
    return json_call("GET", path_of(collection, "directions", name), _direction, options)


def delete_direction(collection: str, name: str, options: Options) -> Call[Direction]:
    """Delete a direction. Not repeatable: somebody may have made it anew in between."""
    return json_call("DELETE", path_of(collection, "directions", name), _direction, options, repeatable=False)


def density(collection: str, points: Any, options: Options, **parameters: Any) -> Call[Densities]:
    """Points -> the density of a collection at them."""
    body = {"queries": points_of(points), **options.parameters(), **present(**parameters)}
    return json_call("POST", path_of(collection, "density"), _densities, options, body)


def _densities(answer: dict[str, Any]) -> Densities:
    return _known(
        Densities,
        answer,
        log_density=npy.doubles(answer["log_density"], -float("inf")),
        percentile=npy.doubles(answer["percentile"]),
        ids=tuple(map(tuple, answer["ids"])),
    )


def compare(collection: str, a: Any, b: Any, points: Any, options: Options, **parameters: Any) -> Call[Comparison]:
    """Two filters -> the log ratio of the densities of both sets, at their items or at points."""
    queries = None if points is None else points_of(points)
    body = {"a": a, "b": b, **options.parameters(), **present(queries=queries, **parameters)}
    return json_call("POST", path_of(collection, "compare"), _comparison, options, body)


def _comparison(answer: dict[str, Any]) -> Comparison:
    return _known(
        Comparison,
        answer,
        ids=tuple(answer["ids"]),
        log_ratio=npy.doubles(answer["log_ratio"]),
        **{name: npy.doubles(answer[name], -float("inf")) for name in ("log_density_a", "log_density_b")},
        **{name: npy.flags(answer[name]) for name in ("in_a", "in_b")},
    )


def _over_items(
    name: str, what: str, options: Options, filter: Any, dims: Iterable[int] | None = None, **parameters: Any
) -> tuple[str, dict[str, Any]]:
    """Return the path and the parameters of a GET that is about the items that a filter finds."""
    conditions = None if filter is None else json_body.encoded(filter, "filter").decode()
    axes = None if dims is None else ",".join(map(str, dims))
    return path_of(name, what), query(model=options.model, filter=conditions, dims=axes, **parameters)


def item_map(collection: str, options: Options, filter: Any, keys: Iterable[str], **parameters: Any) -> Call[ItemMap]:
    """Items on a plane."""
    path, params = _over_items(collection, "map", options, filter, keys=",".join(names(keys)) or None, **parameters)
    return json_call("GET", path, _item_map, options, params=params)


def _item_map(answer: dict[str, Any]) -> ItemMap:
    return _known(ItemMap, answer, plane=plane_of(answer), ids=tuple(answer["ids"]), points=npy.floats(answer["points"]))


def density_map(collection: str, cells: int, options: Options, filter: Any, **parameters: Any) -> Call[DensityMap]:
    """The density of items over a plane."""
    path, params = _over_items(collection, "map", options, filter, density=cells, **parameters)
    return json_call("GET", path, _density_map, options, params=params)


def _density_map(answer: dict[str, Any]) -> DensityMap:
    return _known(
        DensityMap,
        answer,
        plane=plane_of(answer),
        holes=npy.flags(answer["holes"]),
        **{name: npy.doubles(answer[name]) for name in ("density", "prior_density")},
        **{name: tuple(answer[name]) for name in ("x_range", "y_range")},
    )


def coverage(collection: str, options: Options, filter: Any, **parameters: Any) -> Call[Coverage]:
    """How much of a prior the items cover."""
    path, params = _over_items(collection, "coverage", options, filter, **parameters)
    return json_call("GET", path, partial(_known, Coverage), options, params=params)
