"""The JSON body of a direction -> its two sides: filters, ids, pictures or latents.

Counts and checks before anything is decoded or read. Knows nothing of models, stores or routes.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from service.engine.errors import TooLarge
from service.formats.errors import Unusable
from service.formats.latent_rows import latent_rows
from service.json_types import json_type
from service.operations.directions import MOST, Given
from service.rest.bodies import Body
from service.rest.item_bodies import check_id
from service.store.filters import parse_filter
from service.store.interface import MetadataTooLarge

SIDES = ("positive", "negative")
LISTS = ("ids", "images", "mu", "z")
# The longest filter of a side, in bytes, since it is kept with the direction.
MAX_FILTER = 1 << 14
FORMS = '{"label": 7}, {"filter": {"label": 7}}, {"ids": [...]}, {"images": [...]} or {"mu": [[...]]}'


def sides_of(body: Body, dim: int) -> tuple[Given, Given]:
    """Return the positive and the negative side. Pictures are numbered through both sides.

    Raises Unusable, BadFilter, MetadataTooLarge, TooLarge.
    """
    positive, negative = (_given(body.values.get(word), word, dim) for word in SIDES)
    body.check_count(positive.images + negative.images)
    for i, image in enumerate(positive.images + negative.images):
        if not isinstance(image, str):
            raise Unusable("the image must be a string: base64 or a data URL", i)
    return positive, negative


def _given(value: object, word: str, dim: int) -> Given:
    if value is None:
        raise Unusable(f"{word!r} is missing: it must be {FORMS}")
    if not isinstance(value, dict):
        raise Unusable(f"{word!r} must be {FORMS}, not {json_type(value)}")
    listed = [key for key in LISTS if isinstance(value.get(key), list)]
    if not listed and not isinstance(value.get("filter"), dict):
        return _filter(value, word)
    if len(value) > 1:
        others = " and ".join(repr(key[:80]) for key in sorted(value)[:5])
        raise Unusable(f"{word!r} has {others}, but it must be one of {FORMS}; put all conditions into one filter")
    return _filter(value["filter"], word) if not listed else _listed(value[listed[0]], listed[0], word, dim)


def _filter(value: dict[str, Any], word: str) -> Given:
    conditions = parse_filter(value)
    size = len(orjson.dumps(value))
    if size > MAX_FILTER:
        raise MetadataTooLarge(size, MAX_FILTER, what=f"the filter of {word!r}")
    return Given(filter=value, conditions=conditions)


def _listed(values: Sequence[Any], key: str, word: str, dim: int) -> Given:
    if not values:
        raise Unusable(f"{key!r} of {word!r} is empty; send at least two")
    if len(values) > MOST:
        raise TooLarge(len(values), MOST)
    if key == "ids":
        return Given(ids=tuple(dict.fromkeys(check_id(id) for id in values)))
    if key == "images":
        return Given(images=tuple(values))
    return Given(latents=latent_rows(values, dim, f"{key} of {word}"))
