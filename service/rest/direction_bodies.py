"""The JSON body of a direction -> its two sides: filters, ids, data or latents.

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
from service.rest.kinds import PICTURES
from service.rest.kinds.wire import Wire
from service.store.filters import parse_filter
from service.store.interface import MetadataTooLarge

SIDES = ("positive", "negative")
# The longest filter of a side, in bytes, since it is kept with the direction.
MAX_FILTER = 1 << 14


def sides_of(body: Body, dim: int, wire: Wire = PICTURES) -> tuple[Given, Given]:
    """Return the positive and the negative side. Data, which travel by `wire`, are numbered through both sides.

    Raises Unusable, BadFilter, MetadataTooLarge, TooLarge.
    """
    positive, negative = (_given(body.values.get(word), word, dim, wire) for word in SIDES)
    body.check_count(positive.raw + negative.raw)
    for i, one in enumerate(positive.raw + negative.raw):
        wire.check(one, i)
    return positive, negative


def _given(value: object, word: str, dim: int, wire: Wire) -> Given:
    forms = f'{{"label": 7}}, {{"filter": {{"label": 7}}}}, {{"ids": [...]}}, {{"{wire.many}": [...]}} or {{"mu": [[...]]}}'
    if value is None:
        raise Unusable(f"{word!r} is missing: it must be {forms}")
    if not isinstance(value, dict):
        raise Unusable(f"{word!r} must be {forms}, not {json_type(value)}")
    listed = [key for key in ("ids", wire.many, "mu", "z") if isinstance(value.get(key), list)]
    if not listed and not isinstance(value.get("filter"), dict):
        return _filter(value, word)
    if len(value) > 1:
        others = " and ".join(repr(key[:80]) for key in sorted(value)[:5])
        raise Unusable(f"{word!r} has {others}, but it must be one of {forms}; put all conditions into one filter")
    return _filter(value["filter"], word) if not listed else _listed(value[listed[0]], listed[0], word, dim, wire)


def _filter(value: dict[str, Any], word: str) -> Given:
    conditions = parse_filter(value)
    size = len(orjson.dumps(value))
    if size > MAX_FILTER:
        raise MetadataTooLarge(size, MAX_FILTER, what=f"the filter of {word!r}")
    return Given(filter=value, conditions=conditions)


def _listed(values: Sequence[Any], key: str, word: str, dim: int, wire: Wire) -> Given:
    if not values:
        raise Unusable(f"{key!r} of {word!r} is empty; send at least two")
    if len(values) > MOST:
        raise TooLarge(len(values), MOST)
    if key == "ids":
        return Given(ids=tuple(dict.fromkeys(check_id(id) for id in values)))
    if key == wire.many:
        return Given(raw=tuple(values), sent_as=key)
    return Given(latents=latent_rows(values, dim, f"{key} of {word}"))
