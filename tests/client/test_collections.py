"""Every method of both clients on collections, against a real service."""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vae_client
from vae_client import Client, Posteriors

from tests.live.pictures import Pixels, encoded
from tests.live.server import ROOT

SEVEN = ROOT / "examples" / "seven.png"


@pytest.fixture
def name(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new collection of the client's own, which keeps pictures."""
    name = f"{request.node.originalname}-{request.node.callspec.params['client']}"
    client.put_collection(name, keep="picture")
    yield name
    client.delete_collection(name)


def test_collections(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    name = "of-" + request.node.callspec.params["client"]
    assert client.put_collection(name, metric="w2", sigma_weight=2.5).sigma_weight == 2.5
    made = client.put_collection(name, metric="w2", description="digits")
    assert (made.name, made.model, made.metric, made.description, made.count) == (name, "mnist", "w2", "digits", 0)
    assert (made.sigma_weight, client.put_collection(name).sigma_weight) == (1.0, 1.0)
    assert made in client.list_collections()
    assert client.put_collection(name, keep="picture").keep == "picture"
    added = client.add(name, digits[:3], ids=["a/ä?", "b", "c"], metadata=[{"n": 0}, None, {"n": 2}])
    assert (added.ids, added.seq) == (("a/ä?", "b", "c"), 3)
    assert client.add(name, SEVEN, ids="seven", metadata={"file": True}).ids == ("seven",)
    posteriors = client.encode(digits[3:5])
    assert len(client.add(name, posteriors)) == 2
    with pytest.raises(vae_client.Conflict, match="model_mismatch"):
        client.add(name, Posteriors(posteriors.mu, posteriors.sigma, "mnist", "0" * 64))
    found = client.get_item(name, "a/ä?")
    assert found.metadata == {"n": 0}
    np.testing.assert_array_equal(found.mu, client.encode(digits[0]).mu[0])
    near = client.search(name, digits[0], k=2, include=["mu", "image"], filter={"n": {"exists": True}})
    assert [one.id for one in near] == ["a/ä?", "c"]
    assert (near.metric, near.exact, near[0].distance, len(near)) == ("w2", True, 0.0, 2)
    assert (near.sigma_weight, client.search(name, id="b", sigma_weight=3).sigma_weight) == (1.0, 3.0)
    assert client.search(name, id="b", metric="l2").sigma_weight is None
    assert (near[0].image or b"").startswith(b"\x89PNG")
    assert [one.id for one in client.search(name, id="c", k=1)] == ["c"]
    assert client.search(name, mu=posteriors.mu[0], sigma=posteriors.sigma[0], k=1)[0].distance == 0.0
    assert len(list(client.items(name, page_size=4, include=["mu"]))) == 6
    assert [item.id for item in client.items(name, filter={"file": True})] == ["seven"]
    client.delete_item(name, "a/ä?")
    with pytest.raises(vae_client.NotFound) as caught:
        client.get_item(name, "a/ä?")
    assert (caught.value.code, caught.value.status) == ("unknown_item", 404)
    assert len(caught.value.request_id) == 32
    with pytest.raises(ValueError, match="another path"):
        client.delete_item(name, "..")
    with pytest.raises(TypeError, match="exactly one"):
        client.search(name)
    assert client.delete_collection(name).count == 5


def test_many_items_with_ids_and_metadata(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    name = "many-" + request.node.callspec.params["client"]
    client.put_collection(name)
    ids, notes = [f"{i:03}" for i in range(256)], [{"i": i} for i in range(256)]
    added = client.add_many(name, digits, ids=ids, metadata=iter(notes), batch_size=40, progress=True)
    assert list(added.ids) == list(added.added) == ids
    assert [(item.id, item.metadata) for item in client.items(name)] == list(zip(ids, notes, strict=True))
    client.add_many(name, client.encode(digits), ids=iter(ids), batch_size=100)
    assert client.get_collection(name).count == 256
    sizes = [len(part) for part in client.add_batches(name, (encoded(digit) for digit in digits[:5]), batch_size=2)]
    assert sizes == [2, 2, 1]
    for given, message in (
        (ids[:-1], "256 items but 255 ids"),
        (iter(ids[:-1]), "no more ids"),
        (iter([*ids, "x"]), "more ids"),
    ):
        with pytest.raises(ValueError, match=message):
            client.add_many(name, digits, ids=given)
    with pytest.raises(ValueError, match="256 items but 1 ids"):
        client.add_many(name, digits, ids="abc")


def test_one_for_all_and_none(client: Client, name: str, digits: Pixels) -> None:
    client.add(name, digits[:2], ids=["a", "b"], metadata={"n": 1})
    client.add_many(name, iter(digits[2:4]), ids=["c", "d"], metadata={"n": 1}, batch_size=1)
    client.add_many(name, digits[4], ids="e", metadata={})
    assert [(item.id, item.metadata) for item in client.items(name, include="mu")] == [
        *((id, {"n": 1}) for id in "abcd"),
        ("e", {}),
    ]
    assert all(item.mu is not None for item in client.items(name, include="mu"))
    assert client.search(name, id="a", include="image")[0].image is not None
    nothing = client.add_many(name, [], ids=[], metadata={"n": 1})
    assert (len(nothing), nothing.seq, list(client.add_batches(name, iter(())))) == (0, 0, [])
    with pytest.raises(TypeError, match="call it for each"):
        client.search(name, [SEVEN, SEVEN])  # type: ignore[arg-type]
    assert client.delete_items(name, ids="e").ids == ("e",)


def test_values_of_numpy_and_paths(client: Client, name: str) -> None:
    two: Any = np.int64(2)
    note = {"f": np.float32(0.5), "i": two, "b": np.bool_(True), "a": np.arange(3), "path": Path("x")}
    ids: Any = [Path("a/b"), None]
    client.add(name, [SEVEN, SEVEN], ids=ids, metadata=note)
    found = client.search(name, SEVEN, k=two, filter={"i": two})
    assert found[0].metadata == {"f": 0.5, "i": 2, "b": True, "a": [0, 1, 2], "path": "x"}
    assert len(list(client.items(name, filter={"f": {"gte": np.float32(0.5)}}))) == 2
    assert client.get_item(name, Path("a/b")).id == "a/b"  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, float("inf"), np.array([1, np.nan]), "\ud800", 1j])
def test_values_that_json_cannot_carry(client: Client, value: object) -> None:
    asks: list[tuple[str, Callable[[], object]]] = [
        ("body['items'][1]['metadata']['a']", lambda: client.add("x", [SEVEN, SEVEN], metadata=[None, {"a": value}])),
        ("body['a']['b']", lambda: client.change_item("x", "id", {"a": {"b": value}})),
        ("body['filter']['a']", lambda: client.search("x", SEVEN, filter={"a": value})),
        ("filter['a']", lambda: list(client.items("x", filter={"a": value}))),
    ]
    for place, ask in asks:
        with pytest.raises((ValueError, TypeError), match="^" + re.escape(place) + ".*which JSON cannot carry"):
            ask()


def test_items_that_exist(client: Client, name: str, digits: Pixels) -> None:
    client.add(name, digits[0], ids="a", metadata={"n": 0})
    added = client.add(name, digits[:2], ids=["a", "b"])
    assert (added.added, added.replaced, added.skipped) == (("b",), ("a",), ())
    added = client.add_many(name, digits[1:4], ids=["a", "b", "c"], if_exists="skip", batch_size=2)
    assert (added.ids, added.added, added.replaced, added.skipped) == (("a", "b", "c"), ("c",), (), ("a", "b"))
    with pytest.raises(vae_client.Conflict, match="items_exist") as caught:
        client.add(name, digits[:2], ids=["new", "b"], if_exists="error")
    assert caught.value.ids == ("b",)
    assert [item.id for item in client.items(name)] == ["a", "b", "c"]


def test_metadata_pictures_and_deletions(client: Client, name: str, digits: Pixels) -> None:
    files = [encoded(digit) for digit in digits[:5]]
    client.add(name, files, ids=["a/ä?", *"bcde"], metadata=[{"n": n, "at": {"x": 1}} for n in range(5)])
    changed = client.change_item(name, "a/ä?", {"n": None, "at": {"y": 2}, "label": [7]})
    assert (changed.id, changed.metadata, changed.mu) == ("a/ä?", {"at": {"x": 1, "y": 2}, "label": [7]}, None)
    assert client.get_item(name, "a/ä?").metadata == changed.metadata
    with pytest.raises(vae_client.NotFound, match="unknown_item"):
        client.change_item(name, "absent", {})

    assert client.get_picture(name, "a/ä?") == files[0]
    client.add(name, client.encode(files[1]), ids=["plain"])
    with pytest.raises(vae_client.NotFound, match="no_picture"):
        client.get_picture(name, "plain")
    client.add(name, files[1], ids="plain/picture")
    with pytest.raises(vae_client.NotFound, match="no_picture"):
        client.get_picture(name, "plain")

    gone = client.delete_items(name, ids=iter(["b", "absent", "c"]))
    assert (gone.count, gone.ids, gone.missing) == (2, ("b", "c"), ("absent",))
    gone = client.delete_items(name, filter={"n": {"gte": 0}})
    assert (gone.count, gone.ids, gone.missing, gone.unknown_keys) == (2, ("d", "e"), (), ())
    with pytest.raises(vae_client.Conflict, match="unknown_key"):
        client.delete_items(name, filter={"lable": {"ne": 7}})
    assert [item.id for item in client.items(name)] == ["a/ä?", "plain", "plain/picture"]
    wrongs: list[dict[str, Any]] = [{}, {"ids": ["a"], "filter": {"n": 1}}]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="either ids or a filter"):
            client.delete_items(name, **wrong)


def test_mistakes_in_filters(client: Client, name: str, digits: Pixels) -> None:
    client.add(name, digits[:3], ids=["a", "b", "c"], metadata=[{"label": 7}] * 3)
    wrong = {"lable": 7, "zzzzzz": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = client.search(name, id="a", filter=wrong), client.delete_items(name, filter=wrong)
        assert list(client.items(name, filter={"lable": {"ne": 7}}, page_size=1)) != []  # one warning for three pages
    for found in results:
        assert (found.unknown_keys, found.did_you_mean) == (("lable", "zzzzzz"), {"lable": "label"})
    told = "the filter has keys that no item has: 'lable' (did you mean 'label'?)"
    assert [str(one.message) for one in caught] == [f"{told}, 'zzzzzz'", f"{told}, 'zzzzzz'", told]
    for one in caught:
        assert one.category is vae_client.UnknownKeyWarning
        assert Path(one.filename).is_relative_to(Path(__file__).parent)  # where the method is called
    asks: list[Callable[[], object]] = [
        lambda: client.search(name, id="a", filter=wrong, strict=True),
        lambda: list(client.items(name, filter=wrong, strict=True)),
        lambda: client.delete_items(name, filter=wrong, strict=True),
    ]
    for ask in asks:
        with pytest.raises(vae_client.Conflict, match="unknown_key"):
            ask()
    assert {one.id for one in client.search(name, id="b", exclude_self=True)} == {"a", "c"}
