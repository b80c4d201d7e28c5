"""The requests on collections as values. An item that is added always has an id, so that it can be added again unharmed."""

import base64
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from vae_client import json_body, npy, pictures
from vae_client.batches import Batch
from vae_client.calls import JSON, Call, Options, json_call, names, one_latent, present, query, warnings_of
from vae_client.data import KINDS, Data
from vae_client.errors import NotFound, UnknownKeyWarning
from vae_client.latent_results import Comparison, Coverage, Densities, DensityMap, ItemMap
from vae_client.results import Added, Collection, Deleted, Item, Neighbor, Neighbors, Posteriors


@dataclass(frozen=True)
class Page:
    """One page of items. `cursor` leads to the next one and is None on the last."""

    items: list[Item]
    cursor: str | None
    unknown_keys: tuple[str, ...] = ()
    did_you_mean: Mapping[str, str] = field(default_factory=dict)


Filtered = TypeVar("Filtered", Neighbors, Deleted, Page, Densities, Comparison, ItemMap, DensityMap, Coverage)


def warned(found: Filtered) -> Filtered:
    """Return what a filter found. If it has keys that no item has, warn the caller of the method that calls this."""
    similar = {key: f" (did you mean {other!r}?)" for key, other in found.did_you_mean.items()}
    if found.unknown_keys:
        keys = ", ".join(f"{key!r}{similar.get(key, '')}" for key in found.unknown_keys)
        warnings.warn(f"the filter has keys that no item has: {keys}", UnknownKeyWarning, stacklevel=3)
    return found


def unknown_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a result that say which keys of a filter no item has."""
    return {"unknown_keys": tuple(answer.get("unknown_keys") or ()), "did_you_mean": dict(answer.get("did_you_mean") or {})}


def path_of(name: str, *rest: str) -> str:
    """Return the path of a collection or an item. Raises ValueError for one that would mean another path, as `..` does."""
    parts = [os.fspath(part) for part in (name, *rest)]
    for part in parts:
        if not part or {".", ".."} & set(part.split("/")):
            raise ValueError(f"{part!r} cannot be in a URL: an empty name, and '.' and '..', mean another path")
    return "/".join(("/collections", *(quote(part, safe="") for part in parts)))


def _collection(fields: dict[str, Any]) -> Collection:
    known = Collection.__dataclass_fields__.keys()
    return Collection(**{name: value for name, value in fields.items() if name in known})


def list_collections(options: Options) -> Call[list[Collection]]:
    """All collections, in the order of their names."""
    return json_call("GET", "/collections", lambda answer: [_collection(one) for one in answer["collections"]], options)


def put_collection(
    name: str,
    options: Options,
    metric: str | None,
    description: str | None,
    keep: str | None,
    sigma_weight: float | None,
) -> Call[Collection]:
    """Make a collection, or change its metric and description, and what it keeps."""
    body = present(model=options.model, metric=metric, sigma_weight=sigma_weight, description=description, keep=keep)
    return json_call("PUT", path_of(name), _collection, options, body)


def get_collection(name: str, options: Options) -> Call[Collection]:
    """One collection."""
    return json_call("GET", path_of(name), _collection, options)


def delete_collection(name: str, options: Options) -> Call[Collection]:
    """Delete a collection with all its items. Not repeatable: somebody may have made it anew in between."""
    return json_call("DELETE", path_of(name), _collection, options, repeatable=False)


def add(name: str, batch: Batch, options: Options, if_exists: str | None) -> Call[Added]:
    """Add the items of a batch, or replace those whose ids exist. The service compares the digest of posteriors.

    Not repeatable with `if_exists="error"`: if the first answer was lost, the second would be that the items exist.
    """
    if isinstance(batch.content, Posteriors):
        sources, label = _posteriors(batch.content), batch.content.label
    else:
        sources, label = _images(batch.content), None
    items = [
        {"id": id, **source, **present(metadata=metadata)}
        for id, source, metadata in zip(batch.ids, sources, batch.metadata, strict=True)
    ]
    body = {"items": items, **present(model=label, if_exists=if_exists), **options.parameters()}
    read = partial(_added, batch.ids)
    return json_call("POST", path_of(name, "items"), read, options, body, repeatable=if_exists != "error")


def _images(content: Iterable[Any]) -> Iterable[dict[str, Any]]:
    return content.each() if isinstance(content, Data) else ({"image": pictures.base64_of(picture)} for picture in content)


def _posteriors(posteriors: Posteriors) -> Iterable[dict[str, Any]]:
    rows = zip(npy.lists(posteriors.mu), npy.lists(posteriors.sigma), strict=True)
    return ({"mu": mu, "sigma": sigma} for mu, sigma in rows)


def _added(sent: tuple[str, ...], answer: dict[str, Any]) -> Added:
    ids, added, replaced, skipped = (tuple(answer.get(key, ())) for key in ("ids", "added", "replaced", "skipped"))
    if ids != sent:
        raise ValueError("its ids are not those of the request")
    return Added(ids, answer["seq"], added, replaced, warnings_of(answer), skipped)


def _item(fields: dict[str, Any]) -> Item:
    vectors = npy.floats(fields.get("mu")), npy.floats(fields.get("sigma"))
    return Item(fields["id"], fields.get("metadata") or {}, fields.get("seq", 0), *vectors)


def page(
    name: str,
    options: Options,
    cursor: str | None,
    limit: int,
    filter: Any,
    strict: bool | None,
    include: Iterable[str],
) -> Call[Page]:
    """One page of items."""
    conditions = None if filter is None else json_body.encoded(filter, "filter").decode()
    params = query(cursor=cursor, limit=limit, filter=conditions, strict=strict, include=",".join(include) or None)
    return json_call("GET", path_of(name, "items"), _page, options, params=params)


def _page(answer: dict[str, Any]) -> Page:
    return Page([_item(one) for one in answer["items"]], answer["cursor"], **unknown_of(answer))


def get_item(name: str, id: str, options: Options) -> Call[Item]:
    """One item with mu and sigma."""
    return json_call("GET", path_of(name, "items", id), _item, options)


def delete_item(name: str, id: str, options: Options) -> Call[None]:
    """Delete one item. Not repeatable: somebody may have added it anew in between."""
    return json_call("DELETE", path_of(name, "items", id), lambda answer: None, options, repeatable=False)


def change_item(name: str, id: str, patch: Mapping[str, Any], options: Options) -> Call[Item]:
    """Change the metadata of one item. Repeatable: a merge patch that is applied twice has the effect of one."""
    return json_call("PATCH", path_of(name, "items", id), _item, options, patch)


def delete_items(name: str, ids: Iterable[str] | None, filter: Any, strict: bool | None, options: Options) -> Call[Deleted]:
    """Delete items by their ids or by a filter. Raises TypeError unless it is given one of the two.

    Not repeatable: items that somebody has added in between would be deleted too, and the count would be wrong.
    """
    if (ids is None) == (filter is None):
        raise TypeError("a deletion needs either ids or a filter")
    body = present(ids=None if ids is None else names(ids), filter=filter, strict=strict)
    return json_call("POST", path_of(name, "delete"), _deleted, options, body, repeatable=False)


def _deleted(answer: dict[str, Any]) -> Deleted:
    missing = tuple(answer.get("missing") or ())
    return Deleted(answer["count"], tuple(answer["ids"]), answer["seq"], missing, **unknown_of(answer))


def get_picture(name: str, id: str, options: Options) -> Call[bytes]:
    """The original picture of an item, as it was sent."""

    def read(response: httpx.Response) -> bytes:
        # Without an original, the path is that of an item whose id ends in /picture, if there is one.
        if response.headers.get("content-type") == JSON:
            raise NotFound(404, "no_picture", f"the item {id!r} has no original", response.headers.get("x-request-id", ""))
        return response.content

    return Call("GET", f"{path_of(name, 'items', id)}/picture", read, headers=options.headers())


def search(
    name: str,
    options: Options,
    picture: Any,
    mu: Any,
    sigma: Any,
    id: str | None,
    include: Iterable[str],
    **parameters: Any,
) -> Call[Neighbors]:
    """The neighbours of one picture, posterior or item. Raises TypeError unless there is one query."""
    if sum(one is not None for one in (picture, mu, id)) != 1:
        raise TypeError("a search needs exactly one of a picture, mu and id")
    if isinstance(picture, Data):
        if len(picture) != 1:
            raise TypeError(f"search takes one query, not {len(picture)}: call it for each")
    elif isinstance(picture, list | tuple):
        raise TypeError("search takes one picture, not a list: call it for each")
    image = None if picture is None or isinstance(picture, Data) else pictures.base64_of(picture)
    if isinstance(mu, Posteriors) and sigma is None:
        sigma = mu.sigma
    own = picture.each()[0] if isinstance(picture, Data) else {}
    asked = own | present(image=image, mu=one_latent(mu), sigma=one_latent(sigma), id=id)
    body = {**asked, **options.parameters(), **present(include=names(include) or None, **parameters)}
    return json_call("POST", path_of(name, "search"), _neighbors, options, body)


def _neighbors(answer: dict[str, Any]) -> Neighbors:
    return Neighbors(
        tuple(_neighbor(one) for one in answer["neighbors"]),
        answer["metric"],
        answer["exact"],
        answer["seq"],
        warnings_of(answer),
        **unknown_of(answer),
        sigma_weight=answer.get("sigma_weight"),
    )


def _neighbor(fields: dict[str, Any]) -> Neighbor:
    image = fields.get("image")
    return Neighbor(
        fields["id"],
        fields["distance"],
        fields.get("metadata") or {},
        npy.floats(fields.get("mu")),
        npy.floats(fields.get("sigma")),
        None if image is None else base64.b64decode(image),
        next((fields[kind.one] for kind in KINDS if kind.one in fields), None),
    )
