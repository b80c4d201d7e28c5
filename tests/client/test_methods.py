"""Every method of both clients against a real service."""

import inspect
from typing import Any

import httpx
import numpy as np
import pytest
import vae_client
from PIL import Image
from vae_client import AsyncClient, BatchFailed, Client, Posteriors

from tests.client.calling import WAYS, calling
from tests.live.pictures import Pixels, encoded, from_npy, npy
from tests.live.server import ROOT, Server, serving

SEVEN = ROOT / "examples" / "seven.png"


def direct(server: Server, pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """mu and sigma without the client."""
    answer = httpx.post(f"{server.url}/encode?format=npy", content=npy(pixels)).raise_for_status()
    mu, sigma = from_npy(answer.content)
    return mu, sigma


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[inspect.Parameter]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters.values()) for name, one in found if not name.startswith("_")}

    ours, theirs = methods(Client), methods(AsyncClient)
    assert ours.pop("close") == theirs.pop("aclose")
    assert ours == theirs
    assert "encode_many" in ours


def test_encode_takes_pictures_of_every_kind(client: Client, server: Server, digits: Pixels) -> None:
    mu, sigma = direct(server, digits[:2])
    color = np.stack([digits[:2]] * 3, axis=-1)
    kinds: list[Any] = [
        digits[:2],
        digits[:2, :, :, None],
        digits[:2].astype(np.float32) / 255,
        digits[:2].astype(np.float64) / 255,
        list(digits[:2]),
        (digit[..., None] for digit in digits[:2]),
        [encoded(digit) for digit in digits[:2]],
        [Image.fromarray(digit) for digit in digits[:2]],
        [Image.fromarray(one).convert("CMYK") for one in color],
    ]
    for kind in kinds[:-1]:
        found = client.encode(kind)
        np.testing.assert_allclose(found.mu, mu, atol=1e-5)
        np.testing.assert_allclose(found.sigma, sigma, atol=1e-5)
        assert (found.mu.dtype.name, found.model, len(found)) == ("float32", "mnist", 2)
    assert client.encode(kinds[-1]).mu.shape == (2, 20)  # The colours of CMYK are other ones.
    singles: list[Any] = [digits[0], encoded(digits[0]), Image.fromarray(digits[0])]
    for one in singles:
        np.testing.assert_allclose(client.encode(one).mu, mu[:1], atol=1e-5)
    np.testing.assert_array_equal(client.encode(str(SEVEN)).mu, client.encode([SEVEN, SEVEN]).mu[:1])


def test_many_are_encoded_in_order(client: Client, server: Server, digits: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    mu, sigma = direct(server, digits)
    found = client.encode_many(digits, batch_size=30, concurrency=3, progress=True)
    np.testing.assert_array_equal(found.mu, mu)
    np.testing.assert_array_equal(found.sigma, sigma)
    assert "256/256" in capsys.readouterr().err
    lazy = client.encode_many((encoded(digit) for digit in digits), batch_size=50)
    np.testing.assert_array_equal(lazy.mu, mu)
    parts = list(client.encode_batches(digits, batch_size=100))
    assert [len(part) for part in parts] == [100, 100, 56]
    np.testing.assert_array_equal(Posteriors.join(parts).mu, mu)
    assert len(found[10:20]) == 10


def test_a_failed_batch_names_its_items(client: Client, digits: Pixels) -> None:
    files = [encoded(digit) for digit in digits[:20]]
    files[13] = b"nonsense"
    with pytest.raises(BatchFailed, match="item 13: 415 unsupported_media_type") as caught:
        client.encode_many(files, batch_size=5)
    assert (caught.value.items, caught.value.item) == (range(10, 15), 13)
    assert isinstance(caught.value.error, vae_client.InvalidRequest)
    with pytest.raises(BatchFailed, match=r"items 0 to 1: .*absent\.png"):
        client.encode_many(["absent.png", SEVEN])
    with pytest.raises(ValueError, match="no pictures"):
        client.encode_many([])


def test_latents_become_pictures(client: Client) -> None:
    mu = client.encode(SEVEN).mu
    found = client.decode(mu)
    assert (found.pixels.shape, found.pixels.dtype.name, found.model) == ((1, 28, 28, 1), "uint8", "mnist")
    np.testing.assert_array_equal(client.decode(mu[0].tolist()).pixels, found.pixels)
    means = client.decode(mu, dtype="float32").pixels
    np.testing.assert_array_equal(np.rint(means * 255).astype(np.uint8), found.pixels)
    drawn = client.sample(3, seed=7, temperature=0.5, prior="aggregate")
    assert (len(drawn), drawn.seed, drawn.prior) == (3, 7, "aggregate")
    np.testing.assert_array_equal(client.sample(3, seed=7, temperature=0.5, prior="aggregate").pixels, drawn.pixels)
    unseeded = client.sample()
    np.testing.assert_array_equal(client.sample(seed=unseeded.seed).pixels, unseeded.pixels)
    path = client.interpolate(SEVEN, [0.0] * 20, steps=3, method="slerp")
    np.testing.assert_array_equal(path.pixels[0], found.pixels[0])
    assert client.interpolate(np.zeros((28, 28), np.uint8), mu[0]).pixels.shape == (8, 28, 28, 1)
    np.testing.assert_array_equal(client.reconstruct(SEVEN).pixels, found.pixels)
    assert client.reconstruct([SEVEN], mode="sample", seed=3).seed == 3


def test_what_is_loaded(client: Client, server: Server) -> None:
    (model,) = client.models()
    assert (model.name, model.default, model.latent_dim, model.shape) == ("mnist", True, 20, (28, 28, 1))
    assert model.fields["config"]["arch"] == "conv"
    assert client.encode(SEVEN).label == f"mnist@sha256:{model.digest}"
    assert client.info()["default_model"] == "mnist"
    assert client.ready()
    assert client.request("GET", "/sample", params={"format": "png"}).content.startswith(b"\x89PNG")
    assert client.request("POST", "/decode", json={"z": [[0.0] * 20]}).json()["model"] == "mnist"


@pytest.mark.parametrize("way", WAYS)
def test_a_service_that_is_not_there_is_not_ready(way: str) -> None:
    with calling(way, "http://127.0.0.1:1") as client:
        assert not client.ready()


def test_collections(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    name = "of-" + request.node.callspec.params["client"]
    made = client.put_collection(name, metric="w2", description="digits")
    assert (made.name, made.model, made.metric, made.description, made.count) == (name, "mnist", "w2", "digits", 0)
    assert made in client.list_collections()
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


def test_ink_and_warnings(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    """Pictures that are drawn dark on light are warned of, and inverted where that is asked for."""
    name = "ink-" + request.node.callspec.params["client"]
    dark = 255 - digits[:6]
    right = client.encode(digits[:6])
    assert client.encode_many(dark, batch_size=4).warning_count == 6
    found = client.encode_many(dark, batch_size=4, invert="yes")
    np.testing.assert_allclose(found.mu, right.mu, atol=1e-5)
    assert found.warning_count == right.warning_count == 0
    np.testing.assert_array_equal(client.reconstruct(dark, invert="yes").pixels, client.reconstruct(digits[:6]).pixels)
    client.put_collection(name)
    warnings = client.add_many(name, dark, batch_size=4).warnings
    assert [(one.item, one.code) for one in warnings] == [(i, "unusual") for i in range(6)]
    ids = client.add(name, dark, invert="yes").ids
    assert client.search(name, digits[3], k=1)[0].id == client.search(name, dark[3], k=1, invert="auto")[0].id == ids[3]
    drawing = Image.new("LA", (28, 28), (0, 0))
    drawing.putalpha(Image.fromarray(digits[0]))
    np.testing.assert_allclose(client.encode(drawing, background="auto").mu, right.mu[:1], atol=1e-5)
    deep = Image.fromarray(digits[0].astype(np.float32) / 255)
    np.testing.assert_allclose(client.encode(deep).mu, right.mu[:1], atol=1e-3)


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
    with pytest.raises(TypeError, match="ids is one string"):
        client.add_many(name, digits, ids="abc")


@pytest.mark.parametrize("way", WAYS)
def test_keys_models_and_deadlines(way: str, digits: Pixels) -> None:
    key = "0123456789abcdef" * 4
    with serving(variables={"VAE_MODELS": "mnist,mnist-2d", "VAE_API_KEYS": f"app infer {key}"}) as server:
        with calling(way, server.url, api_key=key, model="mnist-2d") as client:
            assert client.encode(digits[0]).mu.shape == (1, 2)
            assert client.encode(digits[0], model="mnist").mu.shape == (1, 20)
            with pytest.raises(vae_client.AccessDenied, match="missing_scope"):
                client.list_collections()
            with pytest.raises(vae_client.NotFound, match="unknown_model"):
                client.sample(model="absent")
            with pytest.raises(vae_client.DeadlineExceeded):
                client.sample(4096, timeout_ms=1)
        with calling(way, server.url) as stranger, pytest.raises(vae_client.AccessDenied, match="401 unauthorized"):
            stranger.sample()
