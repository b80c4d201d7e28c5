"""The requests on collections as values. An item that is added always has an id, so that it can be added again unharmed."""

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from vae_client import npy, pictures
from vae_client.batches import Batch
from vae_client.calls import Call, Options, json_call, present, query
from vae_client.results import Added, Collection, Item, Neighbor, Neighbors, PictureWarning, Posteriors


def _path(name: str, *rest: str) -> str:
    """Return the path of a collection or an item. Raises ValueError for one that would mean another path, as `..` does."""
    for part in (name, *rest):
        if not part or {".", ".."} & set(part.split("/")):
            raise ValueError(f"{part!r} cannot be in a URL: an empty name, and '.' and '..', mean another path")
    return "/".join(("/collections", *(quote(part, safe="") for part in (name, *rest))))


def _collection(fields: dict[str, Any]) -> Collection:
    known = Collection.__dataclass_fields__.keys()
    return Collection(**{name: value for name, value in fields.items() if name in known})


def list_collections(options: Options) -> Call[list[Collection]]:
    """All collections, in the order of their names."""
    return json_call("GET", "/collections", lambda answer: [_collection(one) for one in answer["collections"]], options)


def put_collection(name: str, options: Options, metric: str | None, description: str | None) -> Call[Collection]:
    """Make a collection, or change its metric and description."""
    body = present(model=options.model, metric=metric, description=description)
    return json_call("PUT", _path(name), _collection, options, body)


def get_collection(name: str, options: Options) -> Call[Collection]:
    """One collection."""
    return json_call("GET", _path(name), _collection, options)


def delete_collection(name: str, options: Options) -> Call[Collection]:
    """Delete a collection with all its items. Not repeatable: somebody may have made it anew in between."""
    return json_call("DELETE", _path(name), _collection, options, repeatable=False)


def add(name: str, batch: Batch, options: Options) -> Call[Added]:
    """Add the items of a batch, or replace those whose ids exist. The service compares the digest of posteriors."""
    if isinstance(batch.content, Posteriors):
        sources, label = _posteriors(batch.content), batch.content.label
    else:
        sources, label = _images(batch.content), None
    items = [
        {"id": id, **source, **present(metadata=metadata)}
        for id, source, metadata in zip(batch.ids, sources, batch.metadata, strict=True)
    ]
    return json_call(
        "POST", _path(name, "items"), _added, options, {"items": items, **present(model=label), **options.parameters()}
    )


def _images(content: Iterable[Any]) -> Iterable[dict[str, Any]]:
    return ({"image": pictures.base64_of(picture)} for picture in content)


def _posteriors(posteriors: Posteriors) -> Iterable[dict[str, Any]]:
    rows = zip(npy.lists(posteriors.mu), npy.lists(posteriors.sigma), strict=True)
    return ({"mu": mu, "sigma": sigma} for mu, sigma in rows)


def _added(answer: dict[str, Any]) -> Added:
    ids, added, replaced = (tuple(answer.get(key, ())) for key in ("ids", "added", "replaced"))
    return Added(ids, answer["seq"], added, replaced, _warnings(answer))


def _warnings(answer: dict[str, Any]) -> tuple[PictureWarning, ...]:
    found = answer.get("warnings") or ()
    return tuple(PictureWarning(one.get("code", ""), one.get("detail", ""), one.get("item")) for one in found)


def _item(fields: dict[str, Any]) -> Item:
    vectors = npy.vector(fields.get("mu")), npy.vector(fields.get("sigma"))
    return Item(fields["id"], fields.get("metadata") or {}, fields.get("seq", 0), *vectors)


def page(
    name: str, options: Options, cursor: str | None, limit: int, filter: Any, include: Iterable[str]
) -> Call[tuple[list[Item], str | None]]:
    """One page of items, and the cursor of the next one, None on the last."""
    conditions = None if filter is None else json.dumps(filter)
    params = query(cursor=cursor, limit=limit, filter=conditions, include=",".join(include) or None)
    return json_call(
        "GET",
        _path(name, "items"),
        lambda answer: ([_item(one) for one in answer["items"]], answer["cursor"]),
        options,
        params=params,
    )


def get_item(name: str, id: str, options: Options) -> Call[Item]:
    """One item with mu and sigma."""
    return json_call("GET", _path(name, "items", id), _item, options)


def delete_item(name: str, id: str, options: Options) -> Call[None]:
    """Delete one item. Not repeatable: somebody may have added it anew in between."""
    return json_call("DELETE", _path(name, "items", id), lambda answer: None, options, repeatable=False)


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
    image = None if picture is None else pictures.base64_of(picture)
    asked = present(image=image, mu=npy.lists(mu), sigma=npy.lists(sigma), id=id)
    body = {**asked, **options.parameters(), **present(include=list(include) or None, **parameters)}
    return json_call("POST", _path(name, "search"), _neighbors, options, body)


def _neighbors(answer: dict[str, Any]) -> Neighbors:
    return Neighbors(
        tuple(_neighbor(one) for one in answer["neighbors"]),
        answer["metric"],
        answer["exact"],
        answer["seq"],
        _warnings(answer),
    )


def _neighbor(fields: dict[str, Any]) -> Neighbor:
    image = fields.get("image")
    return Neighbor(
        fields["id"],
        fields["distance"],
        fields.get("metadata") or {},
        npy.vector(fields.get("mu")),
        npy.vector(fields.get("sigma")),
        None if image is None else base64.b64decode(image),
    )
