"""Bodies for collections -> items to add, or queries to search with: pictures, vectors, or ids of items.

Counts and checks before anything is decoded. Knows nothing of models, stores or routes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.kinds.beside import Beside
from service.formats.errors import BadInput, Undecodable, Unsupported, Unusable
from service.formats.generic_names import is_generic
from service.formats.latent_rows import latent_rows
from service.formats.npy import npy_array
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.observe.printable import short
from service.operations.items import Entries
from service.rest.bodies import A_KIND, Body
from service.rest.data_keys import ONES
from service.rest.kinds import PICTURES, wire_of
from service.rest.kinds.wire import Wire
from service.rest.metadata_bodies import metadata_value
from service.store.interface import BadItem, UnknownItem
from service.store.metadata import metadata_bytes, usable_keys
from service.store.names import MAX_ID, is_item_id

# Each item may have so many JSON lists: mu, sigma, and lists in its metadata.
LISTS_PER_ITEM = 16
# A form may have an id and metadata for each picture.
PARTS_PER_ITEM = 3
# DATA stands for the key of data, which differs from kind to kind: "image".
DATA = "data"
ITEM_KEYS = ("id", DATA, "mu", "sigma", "metadata")
# Fields of a form beside `image`.
FORM_FIELDS = ("id", "metadata")
QUERY_KEYS = (DATA, "mu", "sigma", "id")
POINT_KEYS = (DATA, "z", "mu", "sigma", "id")
# How messages show what an item, a query or a point is; %s: data.
OF_ITEMS = '%s or {"mu": [...], "sigma": [...]}'
OF_QUERIES = '%s, {"mu": [...], "sigma": [...]} or {"id": "..."}'
OF_POINTS = '%s, {"z": [...]}, {"mu": [...], "sigma": [...]} or {"id": "..."}'
# What says where an item, a query or a point is; each has exactly one of them.
SOURCES = (DATA, "z", "mu", "id")


def check_id(id: object, item: int | None = None) -> str:
    """Return the id if it is a valid one of an item. Raises Unusable."""
    if not is_item_id(id):
        raise Unusable(f"an id must be a string of 1 to {MAX_ID} characters without control characters, not {short(id)}", item)
    return id


def items_of(
    body: Body, dim: int, id: str | None = None, model: ServedModel | None = None, beside: Beside | None = None
) -> Entries:
    """Return the items to add. `id`: that of the only item. `model`: that of the collection, if it is loaded.

    `beside`: the columns of ids and metadata of rows. Raises BadInput, TooLarge, BadItem, MetadataTooLarge.
    """
    match body.kind:
        case _ if beside is not None:
            entries = _named_entries(body, dim, model, beside)
        case "json":
            wire = _wire(model)
            entries = json_entries(_list(body, "items", wire), dim, ITEM_KEYS, wire)
        case "npy":
            entries = _npy_entries(body, dim)
        case _:
            entries = _data_entries(body, dim, model)
    if body.kind == "form":
        _name_by_fields(entries, body)
    if id is not None:
        _name_alone(entries, body, id)
    seen: dict[str, int] = {}
    for i, id in enumerate(entries.ids):
        if id is not None and not {".", ".."}.isdisjoint(id.split("/")):  # DELETE .../items/.. would reach the collection
            raise Unusable(f"the id {id!r} has '.' or '..' between its slashes, which clients remove from addresses", i)
        if id is not None and "\ufffd" in id:  # Different names would become the same id.
            raise Unusable(f"the id {id!r} comes from bytes that are not UTF-8, or has the character U+FFFD; send UTF-8", i)
        if id is not None and seen.setdefault(id, i) != i:
            raise Unusable(f"the id {id!r} is also the id of item {seen[id]}; an id may occur only once in a request", i)
    entries.unstated = {i for i, metadata in enumerate(entries.metadata) if not metadata}
    entries.metadata = [metadata or b"{}" for metadata in entries.metadata]
    return entries


def _named_entries(body: Body, dim: int, model: ServedModel | None, beside: Beside) -> Entries:
    """Return rows of a table with the ids and the metadata that columns have."""
    if model is None:
        raise Unusable("id_column and metadata_columns are for rows, which only a loaded model can encode")
    found, ids, metadata = wire_of(model).read_beside(model, body, beside)
    rows = list(found.raw if found.rows is None else found.rows)
    entries = blank([None] * len(rows) if ids is None else [check_id(id, i) for i, id in enumerate(ids)], rows, dim)
    for i, own in enumerate(metadata):
        if own:
            _state_metadata(entries, i, own)
    return entries


def _name_by_fields(entries: Entries, body: Body) -> None:
    """Fill in the fields `id` and `metadata` of a form: one for each picture, in order. An empty field says nothing."""
    fields = {name: [part.data for part in body.parts if part.name == name] for name in FORM_FIELDS}
    for name, found in fields.items():
        if found and len(found) != len(entries):
            raise Unusable(
                f"fields of the form: 'image' {len(entries)}, {name!r} {len(found)}; give no {name!r}, or one for each "
                "picture, in the same order (an empty one for a picture without)"
            )
    for i, text in enumerate(fields["id"]):
        if text:
            entries.ids[i] = check_id(text.decode("utf-8", "replace"), i)
    for i, text in enumerate(fields["metadata"]):
        if text:
            _state_metadata(entries, i, metadata_value(text, i))


def _state_metadata(entries: Entries, i: int, value: Any) -> None:
    entries.metadata[i] = metadata_bytes(value, i)
    entries.keys |= usable_keys(value)


def _name_alone(entries: Entries, body: Body, id: str) -> None:
    check_id(id)
    if len(entries) != 1:
        raise Unusable(
            f"the parameter id names one item, but the request has {len(entries)}; state the id of each item instead"
        )
    if (stated := entries.ids[0]) not in (None, id) and body.kind != "form":
        raise _contradiction(id, stated)
    for part in body.parts:
        if part.name == "id" and part.data and entries.ids[0] != id:
            raise _contradiction(id, entries.ids[0])
    entries.ids[0] = id


def _contradiction(id: str, stated: str | None) -> Unusable:
    return Unusable(f"the parameter id is {id!r}, but the item has the id {stated!r}; state only one of them")


@contextmanager
def unnumbered(alone: bool = True) -> Iterator[None]:
    """Leave the number of the item out of errors about one that is `alone`, not in a list."""
    try:
        yield
    except (BadInput, BadItem, UnknownItem) as error:
        error.item = None if alone else error.item
        raise


def _wire(model: ServedModel | None) -> Wire:
    return PICTURES if model is None else wire_of(model)


def queries_of(body: Body, dim: int, model: ServedModel | None = None) -> tuple[Entries, bool]:
    """Return (queries, whether there is one query and not a list). `model`: see `items_of`. Raises BadInput, TooLarge."""
    wire = _wire(model)
    keys = names_of(QUERY_KEYS, wire)
    if body.kind == "json" and "queries" in body.values:
        if beside := sorted(body.values.keys() & set(keys)):
            raise Unusable(f"queries cannot be combined with {', '.join(beside)}: send either one query, or a list in queries")
        return json_entries(_list(body, "queries", wire), dim, QUERY_KEYS, wire), False
    if body.kind == "json":
        entry = {key: value for key, value in body.values.items() if key in (*keys, *ONES)}
        with unnumbered():
            return json_entries([entry], dim, QUERY_KEYS, wire), True
    entries = _npy_entries(body, dim) if body.kind == "npy" else _data_entries(body, dim, model)
    return entries, len(entries) == 1


def names_of(keys: tuple[str, ...], wire: Wire) -> tuple[str, ...]:
    """Return the keys of JSON objects, with that of data by its name."""
    return tuple(wire.one if key == DATA else key for key in keys)


def _list(body: Body, key: str, wire: Wire) -> list[Any]:
    rows = body.values.get(key)
    if not isinstance(rows, list) or not rows:
        raise Unusable(f'the JSON body needs {key!r}, a list of one or more objects like {wire.shown} or {{"mu": [...]}}')
    body.check_count(rows)
    return rows


def blank(ids: list[str | None], raw: Sequence[Any], dim: int) -> Entries:
    """Return entries with ids and data only; their vectors are still to be filled in."""
    mu, sigma = (np.zeros((len(ids), dim), np.float32) for _ in range(2))
    return Entries(ids, list(raw), mu, sigma, np.zeros(len(ids), np.bool_), [b""] * len(ids))


def _data_entries(body: Body, dim: int, model: ServedModel | None) -> Entries:
    """Return the items of a body that is data alone, such as a picture, a form or CSV."""
    if model is not None and not model.is_pictures and body.kind != "empty":
        found = wire_of(model).read(model, body)
        raw = found.raw if found.rows is None else list(found.rows)
        return blank([None] * len(raw), raw, dim)
    match body.kind:
        case "picture":
            return blank([None], [body.raw], dim)
        case "form":
            parts = body.form_pictures()
            body.check_count(parts)
            names = [part.filename or "" for part in parts]
            ids = [None if is_generic(name) else check_id(name, i) for i, name in enumerate(names)]
            return blank(ids, [part.data for part in parts], dim)
    if body.kind == "empty":
        raise Undecodable("the body is empty: send JSON, a picture, a form or npy")
    raise body.unknown or Unsupported(f"send JSON, a picture, a form or npy, not {A_KIND[body.kind]}")


def _npy_entries(body: Body, dim: int) -> Entries:
    """Return the items of an npy array: mu (N, D), or mu and sigma (2, N, D) as /encode answers."""
    array = npy_array(body.raw)
    if array.ndim not in (2, 3) or (array.ndim == 3 and len(array) != 2):
        raise Unusable(f"the array has shape {array.shape}; it must be (N, {dim}) for mu, or (2, N, {dim}) for mu and sigma")
    parts = [array] if array.ndim == 2 else list(array)
    body.check_count(parts[0])
    if not len(parts[0]):
        raise Unusable("the array is empty; at least one latent is needed")
    entries = blank([None] * len(parts[0]), [None] * len(parts[0]), dim)
    entries.mu = latent_rows(parts[0], dim, "mu")
    if len(parts) == 2:
        entries.sigma, entries.has_sigma = _sigmas(parts[1], dim, range(len(parts[1]))), np.ones(len(parts[1]), np.bool_)
    return entries


def json_entries(rows: list[Any], dim: int, keys: tuple[str, ...], wire: Wire = PICTURES) -> Entries:
    """Return entries from JSON objects that may have these keys; data travel by `wire`.

    Raises Unusable with the index of the one at fault.
    """
    ids: list[str | None] = []
    raw: list[Any] = []
    for i, row in enumerate(rows):
        _check_entry(row, keys, i, wire)
        ids.append(check_id(row["id"], i) if row.get("id") is not None else None)
        raw.append(row.get(wire.one))
    entries = blank(ids, raw, dim)
    for name, target in (("z", entries.mu), ("mu", entries.mu), ("sigma", entries.sigma)):
        where = [i for i, row in enumerate(rows) if row.get(name) is not None]
        if where:
            values = [_vector(rows[i][name], dim, name, i) for i in where]
            what = "a point" if "z" in keys else "a query" if keys is QUERY_KEYS else "an item"
            target[where] = _sigmas(values, dim, where, what) if name == "sigma" else _renumbered(values, dim, name, where)
            if name == "sigma":
                entries.has_sigma[where] = True
    for i, row in enumerate(rows):
        if row.get("metadata") is not None:
            _state_metadata(entries, i, row["metadata"])
    return entries


def _check_entry(row: object, keys: tuple[str, ...], item: int, wire: Wire) -> None:
    if not isinstance(row, dict):
        like = OF_POINTS if "z" in keys else OF_QUERIES if keys is QUERY_KEYS else OF_ITEMS
        raise Unusable(f"must be an object like {like % wire.shown}, not {json_type(row)}", item)
    names = names_of(keys, wire)
    unknown = sorted(row.keys() - set(names))
    if unknown:
        other = f" (the model is one of {wire.things})" if unknown[0] in ONES else ""
        raise Unusable(f"unknown key {unknown[0][:80]!r}; known are {', '.join(names)}{other}", item)
    known = names_of(tuple(key for key in SOURCES if key in keys and (key != "id" or keys is not ITEM_KEYS)), wire)
    sources = [key for key in known if row.get(key) is not None]
    if len(sources) != 1:
        wanted = f"{'a query ' if keys is QUERY_KEYS else ''}needs exactly one of {', '.join(known[:-1])} and {known[-1]}"
        raise Unusable(f"{wanted}, but has {' and '.join(sources) or 'none'}", item)
    if "sigma" in row and sources != ["mu"]:
        raise Unusable(f"sigma can be given only with mu, not with {sources[0]}", item)
    if sources == [wire.one]:
        wire.check(row[wire.one], item)


def _vector(value: object, dim: int, name: str, item: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != dim:
        found = f"a list of {len(value)}" if isinstance(value, list) else json_type(value)
        raise Unusable(f"{name} must be a list of {dim} numbers, not {found}", item)
    return value


def _renumbered(values: Any, dim: int, name: str, where: Sequence[int]) -> NDArray[np.float32]:
    """Return rows of numbers. An error names the item that the wrong row belongs to."""
    try:
        return latent_rows(values, dim, name)
    except Unusable as error:
        if error.item is None and len(values) > 1:  # about a type; find the row that has it
            for i, row in enumerate(values):
                _renumbered([row], dim, name, [where[i]])
        found = 0 if len(values) == 1 else error.item
        raise Unusable(error.reason, None if found is None else where[found]) from None


def _sigmas(values: Any, dim: int, where: Sequence[int], what: str = "an item") -> NDArray[np.float32]:
    sigma = _renumbered(values, dim, "sigma", where)
    bad = ~(sigma > 0).all(axis=1)
    if bad.any():
        raise Unusable(f"each sigma must be above 0; leave sigma out of {what} that has none", where[int(bad.argmax())])
    return sigma
