"""The requests on points of the latent space, and on scores and compressed latents, as values.

A point is a picture, a latent, (D,) or (1, D), the posterior of one picture, or a mapping as in the interface: {"id": "a"}.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Number
from typing import Any, Literal
from urllib.parse import quote

import httpx

from vae_client import json_body, npy, pictures
from vae_client.calls import (
    JSON,
    NPY,
    Call,
    NpyType,
    Options,
    counted,
    json_call,
    label_of,
    names,
    one_latent,
    present,
    query,
    read_pictures,
    warnings_of,
)
from vae_client.data import Data
from vae_client.errors import ModelChanged
from vae_client.latent_results import ModelMap, Score, Scores
from vae_client.results import Decoded, Posteriors

ScoreName = Literal["knn", "density", "reconstruction", "unexplained", "deviance", "elbo", "iwae", "regret", "surprise", "nll"]
ARRAYS = ("mu", "sigma", "log_density", "values")  # the details of pictures that are arrays


def point_of(value: Any) -> dict[str, Any]:
    """Return one point. An array of more dimensions than a latent has is a picture; none is one pixel high."""
    if isinstance(value, Data):
        if len(value) != 1:
            raise TypeError(f"one point is needed, not {len(value)}")
        return value.each()[0]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Posteriors):
        return {"mu": one_latent(value), "sigma": one_latent(value.sigma)}
    if pictures.is_one(value) or (npy.is_array(value) and len(value.shape) > 1 and value.shape[:-1] != (1,)):
        return {"image": pictures.base64_of(value)}
    return {"mu": one_latent(value)}


def points_of(value: Any) -> list[dict[str, Any]]:
    """Return one point or several. An array (N, D) has latents, one with more dimensions pictures."""
    if pictures.is_one(value) or isinstance(value, Mapping):
        return [point_of(value)]
    if isinstance(value, Data):
        return value.each()
    rows = list(value)
    return [point_of(rows)] if rows and isinstance(rows[0], Number) else [point_of(row) for row in rows]


def _weighted(points: Any, weights: Iterable[float] | None) -> list[dict[str, Any]]:
    found = points_of(points)
    if weights is None:
        return found
    return [{**point, "weight": weight} for point, weight in zip(found, weights, strict=True)]


def _decoded(
    path: str, body: Mapping[str, Any], options: Options, count: int | None, dtype: NpyType, **parameters: Any
) -> Call[Decoded]:
    content = json_body.encoded({**body, **options.parameters(), **present(dtype=dtype, **parameters)})
    headers = options.headers(Accept=NPY, Content_Type=JSON)
    return Call("POST", path, counted(read_pictures, count), {}, content, headers)


def details(call: Call[Decoded], decoded: Decoded, include: str) -> Call[Decoded]:
    """Pictures -> the same with what npy answers lack: the same request once more, as JSON. Raises ModelChanged."""

    def read(response: httpx.Response) -> Decoded:
        if label_of(response) != (decoded.model, decoded.digest):
            raise ModelChanged(f"the model {decoded.model} was replaced between the pictures and their details; ask again")
        answer = json.loads(response.content)
        others = {name: npy.floats(value) if name in ARRAYS else value for name, value in answer.items()}
        for name in ("model", "images", "shape", "z", "seed"):
            others.pop(name, None)
        return replace(decoded, z=npy.floats(answer["z"]), details=others)

    return replace(call, read=read, params={**call.params, "include": include}, headers={**call.headers, "Accept": JSON})


def edit(
    points: Any, directions: Mapping[str, float], keep: Iterable[str], options: Options, dtype: NpyType, **parameters: Any
) -> Call[Decoded]:
    """Points -> their pictures after a move along directions."""
    found = points_of(points)
    body = {"points": found, "directions": dict(directions), "keep": names(keep)}
    return _decoded("/edit", body, options, len(found), dtype, **parameters)


def combine(terms: Any, weights: Iterable[float] | None, options: Options, dtype: NpyType, **parameters: Any) -> Call[Decoded]:
    """Weighted points -> the picture of their sum."""
    return _decoded("/combine", {"terms": _weighted(terms, weights)}, options, 1, dtype, **parameters)


def barycenter(
    points: Any, weights: Iterable[float] | None, options: Options, dtype: NpyType, **parameters: Any
) -> Call[Decoded]:
    """Weighted points -> the picture of their mean."""
    return _decoded("/barycenter", {"points": _weighted(points, weights)}, options, 1, dtype, **parameters)


def traverse(
    points: Any, dims: Iterable[int] | str | None, options: Options, dtype: NpyType, **parameters: Any
) -> Call[Decoded]:
    """Points, or None for the mean of the prior -> rows of pictures."""
    dims = dims if dims is None or isinstance(dims, str) else [int(dim) for dim in dims]
    body = {} if points is None else {"points": points_of(points)}
    return _decoded("/traverse", body, options, None, dtype, dims=dims, **parameters)


def manifold(dims: Iterable[int] | None, n: int, options: Options, **parameters: Any) -> Call[Decoded]:
    """Nothing -> the n x n pictures of a plane."""
    params = query(**options.parameters(), dims=None if dims is None else ",".join(map(str, dims)), n=n, **parameters)
    return Call("GET", "/manifold", counted(read_pictures, n * n), params, None, options.headers(Accept=NPY))


def interpolate(
    start: Any, end: Any, points: Any, corners: Any, options: Options, steps: int | None, dtype: NpyType, **parameters: Any
) -> Call[Decoded]:
    """Two ends, several points, or four corners -> the pictures between them. Raises TypeError unless it is one of these."""
    if (start is None) != (end is None) or sum(one is not None for one in (start, points, corners)) != 1:
        raise TypeError("a path needs either a start and an end, or points, or corners")
    if start is not None:
        ends = {"start": point_of(start), "end": point_of(end)}
        body: dict[str, Any] = {name: {key: one[key] for key in one if key != "sigma"} for name, one in ends.items()}
    else:
        body = {"corners": points_of(corners)} if points is None else {"points": points_of(points)}
    count = steps**2 if steps is not None and corners is not None else steps
    return _decoded("/interpolate", body, options, count, dtype, steps=steps, **parameters)


def compress(content: Any, options: Options, step: float | None, sharpen: float | None) -> Call[bytes]:
    """Pictures -> a file of their latents."""
    body, kind, _ = pictures.body_of(pictures.listed(content))
    params = query(**options.parameters(), step=step, sharpen=sharpen)
    return Call("POST", "/compress", lambda response: response.content, params, body, options.headers(Content_Type=kind))


def decompress(file: Any, options: Options, **parameters: Any) -> Call[Decoded]:
    """A file of latents -> pictures."""
    headers = options.headers(Accept=NPY, Content_Type="application/x-vae-latents")
    params = query(**options.parameters(), **parameters)
    return Call("POST", "/decompress", read_pictures, params, pictures.file_of(file), headers)


def score(
    content: Any, options: Options, scores: Iterable[str] = (), samples: int | None = None, seed: int | None = None
) -> Call[Scores]:
    """Pictures -> how unusual they are."""
    body, kind, count = pictures.body_of(pictures.listed(content))
    params = query(**options.parameters(), scores=",".join(names(scores)) or None, samples=samples, seed=seed)
    headers = options.headers(Accept=JSON, Content_Type=kind)
    return Call("POST", "/score", counted(_read_scores, count), params, body, headers)


def _read_scores(response: httpx.Response) -> Scores:
    answer = json.loads(response.content)
    scores = {name: _score(one) for name, one in answer["scores"].items()}
    return Scores(scores, npy.floats(answer["p_value"]), answer["calibrated"], *label_of(response), warnings_of(answer))


def _score(one: dict[str, Any]) -> Score:
    values = npy.floats(one["value"]), npy.floats(one["p_value"]), one["unit"], npy.floats(one.get("ess"))
    kind, columns, largest = (tuple(one[name]) if one.get(name) else None for name in ("kind", "columns", "largest"))
    return Score(*values, kind, one.get("samples"), one.get("seed"), columns, largest)


def model_map(model: str, dims: Iterable[int] | None, options: Options) -> Call[ModelMap]:
    """The training latents of a model in a plane."""
    params = query(dims=None if dims is None else ",".join(map(str, dims)))
    return json_call("GET", f"/models/{quote(model, safe='')}/map", _model_map, options, params=params)


def plane_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the plane of a map, its origin (D,) and axes (2, D) as float64."""
    plane = answer["plane"]
    return {**plane, "origin": npy.doubles(plane["origin"]), "axes": npy.doubles(plane["axes"])}


def _model_map(answer: dict[str, Any]) -> ModelMap:
    labels, texts = answer["labels"], answer["label_names"]
    return ModelMap(
        points=npy.floats(answer["points"]),
        plane=plane_of(answer),
        model=answer["model"],
        labels=None if labels is None else tuple(texts[label] for label in labels),
        record=answer["record"],
    )
