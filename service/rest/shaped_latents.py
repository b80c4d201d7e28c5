"""Bodies -> latents that may have a shape, (N, C, h, w), and points of a path that have one. Knows nothing of routes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spatial_latents import SpatialLatents
from service.formats.errors import Unusable
from service.formats.json_values import json_list
from service.formats.latent_rows import JSON_NAMES, latent_row, latent_rows
from service.formats.npy import npy_array
from service.inference.served_model import Floats, ServedModel
from service.operations.shaped import ShapedPoints, size_of
from service.rest.bodies import Body, latents_of

Size = tuple[int, int] | None
LATENTS = ("z", "mu")
# Levels of lists of one latent with a shape, (C, h, w).
LEVELS = 3


def any_latents(body: Body, model: ServedModel) -> tuple[Floats, Size]:
    """Return the latents of a body, flattened, and the size (H, W) of their pictures; None: the model's own.

    Only models whose latents have a shape take shaped ones. Raises BadInput, TooLarge.
    """
    if model.kind.spatial is None:
        return latents_of(body, model.latent_dim, model.name), None
    if body.kind == "npy":
        array = npy_array(body.raw)
        if array.ndim == LEVELS + 1:
            body.check_count(array)
            return flattened(array, model.kind.spatial, "z"), size_of(model, array.shape)
    elif body.kind == "json":
        name = next((name for name in LATENTS if name in body.values), "z")
        value = body.values.get(name)
        if isinstance(value, list) and value and _is_shaped(value[0]) and not {*LATENTS} <= body.values.keys():
            body.check_count(value)
            array = nested(value, LEVELS + 1, name)
            return flattened(array, model.kind.spatial, name), size_of(model, array.shape)
    return latents_of(body, model.latent_dim, model.name), None


def _is_shaped(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def flattened(array: NDArray[Any], spatial: SpatialLatents, name: str) -> Floats:
    """Return latents (N, C, h, w) as float32 (N, D). Raises Unusable."""
    if not min(array.shape) or array.shape[1] != spatial.channels:
        raise Unusable(
            f"{name} has the shape {array.shape}, but the model takes latents of the shape (N, {spatial.channels}, h, w), "
            "each side at least 1, or flat ones of its own size"
        )
    flat = array.reshape(len(array), -1)
    return latent_rows(flat, flat.shape[1], name)


def nested(value: list[Any], levels: int, name: str) -> NDArray[Any]:
    """Return lists of lists of numbers as an array. Raises Unusable."""
    rows: list[Any] = value
    for _ in range(levels - 1):
        if not all(isinstance(row, list) for row in rows):
            raise Unusable(f"{name} must be lists in lists, {levels} deep: latents, channels, rows and numbers")
        rows = [inner for row in rows for inner in row]
    others = set(map(type, rows)) - {int, float}
    if others:
        found = ", ".join(sorted(JSON_NAMES[kind] for kind in others))
        raise Unusable(f"{name} contains {found}, but the model takes numbers of the shape (N, C, h, w)")
    try:
        return np.asarray(value)
    except ValueError:
        raise Unusable(
            f"the lists of {name} differ in length, but the model takes numbers of the shape (N, C, h, w)"
        ) from None


def shaped_points(body: Body, model: ServedModel, spatial: SpatialLatents) -> ShapedPoints | None:
    """Return the points of a path between pictures and latents of any size; None if the body has other points.

    Raises BadInput.
    """
    if body.kind == "form":
        given: list[Any] = []
        for name in ("start", "end"):
            parts = [part for part in body.parts if part.name == name]
            if len(parts) != 1:
                return None
            given.append({"z": json_list(parts[0].data, name)} if parts[0].filename is None else {"image": parts[0].data})
        words = ["start", "end"]
    elif body.kind == "json":
        if len(body.values.keys() & {"start", "points", "corners"}) > 1:
            return None
        key = next((key for key in ("points", "corners") if key in body.values), "")
        listed = body.values.get(key)
        given = listed if isinstance(listed, list) else [body.values.get(name) for name in ("start", "end")]
        words = [f"point {i}" for i in range(len(given))] if isinstance(listed, list) else ["start", "end"]
    else:
        return None
    body.check_count(given)
    known = ({"image"}, {"z"}, {"mu"})
    if not given or not all(isinstance(one, dict) and set(one) in known for one in given):
        return None  # The usual parser will tell what is wrong, or take what has no shape.
    points = [_point(one, word, model, spatial) for one, word in zip(given, words, strict=True)]
    return ShapedPoints([point for point, _ in points], [size for _, size in points], model.latent_dim)


def _point(one: dict[str, Any], word: str, model: ServedModel, spatial: SpatialLatents) -> tuple[Floats | bytes | str, Size]:
    """Return a picture as it was sent, or a flattened latent (D,), and the size of its picture; None: the model's own."""
    ((key, value),) = one.items()
    if key == "image":
        if not isinstance(value, (bytes, str)):
            raise Unusable(f"the image of {word} must be a string: base64 or a data URL")
        return value, None
    name = f"{key} of {word}"
    if not _is_shaped(value):
        return latent_row(value, model.latent_dim, name, model.name)[0], None
    array = nested(value, LEVELS, name)[None]
    return flattened(array, spatial, name)[0], size_of(model, array.shape)
