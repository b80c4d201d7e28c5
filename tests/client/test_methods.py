"""Every method of both clients on pictures and models, against a real service."""

import inspect
import io
from collections.abc import Callable
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
    file = encoded(digits[0])
    singles: list[Any] = [digits[0], file, Image.fromarray(digits[0]), bytearray(file), memoryview(file), io.BytesIO(file)]
    for one in singles:
        np.testing.assert_allclose(client.encode(one).mu, mu[:1], atol=1e-5)
    np.testing.assert_array_equal(client.encode(str(SEVEN)).mu, client.encode([SEVEN, SEVEN]).mu[:1])
    with SEVEN.open("rb") as opened, SEVEN.open("rb") as again:
        np.testing.assert_array_equal(client.encode_many([opened, again]).mu[1:], client.encode(SEVEN).mu)
    with SEVEN.open() as text, pytest.raises(TypeError, match="mode 'rb'"):
        client.encode(text)
    assert client.encode(Image.new("La", (28, 28))).mu.shape == (1, 20)


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


def test_no_pictures_have_no_posteriors(client: Client) -> None:
    found = client.encode_many([])
    assert (len(found), found.mu.shape, found.sigma.dtype.name) == (0, (0, 0), "float32")
    assert list(client.encode_batches(iter(()))) == []


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


def test_pixels_may_be_drawn_too(client: Client) -> None:
    drawn = client.sample(3, seed=7, include=["z"], pixels="sample")
    assert set(np.unique(drawn.pixels).tolist()) == {0, 255}
    again = client.decode(drawn.z, pixels="sample", seed=7)
    assert again.seed == 7
    np.testing.assert_array_equal(again.pixels, drawn.pixels)
    assert client.reconstruct(SEVEN, pixels="sample", seed=3).seed == 3
    assert client.decode(drawn.z, pixels="mean").seed is None


def test_one_posterior_is_one_latent(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    name, found = "latent-" + request.node.callspec.params["client"], client.encode(digits[:3])
    client.put_collection(name)
    client.add(name, found[0], ids="a")
    three: Any = np.int64(3)
    assert (found[-1].mu.shape, len(found[three - 1])) == ((1, 20), 1)
    with pytest.raises(IndexError):
        found[3]
    np.testing.assert_array_equal(client.decode(found).pixels, client.decode(found.mu).pixels)
    right = client.interpolate(found.mu[0], found.mu[1], steps=3).pixels
    ends: list[tuple[Any, Any]] = [(found.mu[:1], found.mu[1:2].tolist()), (found[0], list(found.mu[1]))]
    for start, end in ends:
        np.testing.assert_array_equal(client.interpolate(start, end, steps=three).pixels, right)
    for mu in (found.mu[:1], found[0], found.mu[0].tolist()):
        assert client.search(name, mu=mu, metric="l2")[0].distance == 0
    assert client.search(name, mu=found[0])[0].distance == 0  # It has a sigma, too, which the metric of the model compares.
    assert [warning.code for warning in client.search(name, mu=found.mu[0]).warnings] == ["no_sigma"]
    wrongs: list[Callable[[], object]] = [
        lambda: client.interpolate(found.mu, found.mu[0]),
        lambda: client.interpolate(found, found.mu[0]),
        lambda: client.search(name, mu=found.mu.tolist()),
    ]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=r"mu\[0\]"):
            wrong()
    with pytest.raises(TypeError, match="real numbers, not complex"):
        client.decode([1j] * 20)


def test_what_is_included(client: Client, digits: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    found = client.encode(digits[:6], include=["logvar", "kl", "kl_per_dim", "z"], seed=3)
    plain = client.encode(digits[:6])
    assert (found.seed, found.label) == (3, plain.label)
    assert found.logvar is not None
    assert found.kl is not None
    assert found.kl_per_dim is not None
    for field, value in (("mu", plain.mu), ("sigma", plain.sigma)):
        np.testing.assert_array_equal(getattr(found, field), value)
    np.testing.assert_allclose(np.exp(found.logvar / 2), plain.sigma, rtol=1e-5)
    np.testing.assert_allclose(found.kl, found.kl_per_dim.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(client.encode(digits[:6], include=["z"], seed=3).z, found.z)
    assert {value.dtype.name for value in (found.mu, found.kl)} == {"float32"}
    many = client.encode_many(digits[:6], include=["kl"], batch_size=4)
    np.testing.assert_array_equal(many.kl, found.kl)
    np.testing.assert_array_equal(many[3:5].kl, found.kl[3:5])
    assert (many.z, many.seed, plain.kl) == (None, None, None)
    for one in (client.encode(digits[:6], include="kl"), client.encode_many(digits[:6], include="kl")):
        np.testing.assert_array_equal(one.kl, found.kl)
    with pytest.raises(vae_client.InvalidRequest, match="kl_per_dim"):
        client.encode(SEVEN, include=["elbo"])  # type: ignore[list-item]

    drawn = client.sample(3, temperature=0.5, include=["z"])
    np.testing.assert_array_equal(client.sample(3, seed=drawn.seed, temperature=0.5, include="z").z, drawn.z)
    same = client.sample(3, seed=drawn.seed, temperature=0.5)
    assert same.z is None
    np.testing.assert_array_equal(drawn.pixels, same.pixels)
    np.testing.assert_array_equal(client.decode(drawn.z).pixels, drawn.pixels)
    another = vae_client.Decoded(drawn.pixels, "mnist", "0" * 64, drawn.seed, drawn.prior)
    monkeypatch.setattr("vae_client.calls.Decoded", lambda *fields: another)
    with pytest.raises(vae_client.ModelChanged, match="sample again"):
        client.sample(3, include=["z"])


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


def test_ink_and_warnings(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> None:
    """Pictures that are drawn dark on light are warned of, and inverted where that is asked for."""
    name = "ink-" + request.node.callspec.params["client"]
    dark = 255 - digits[:6]
    right = client.encode(digits[:6])
    assert client.encode_many(dark, batch_size=4).warning_count == client.reconstruct(dark).warning_count == 6
    told = client.encode_many(dark, batch_size=4, include=["warnings"])
    assert (told.warning_count, [one.item for one in told.warnings]) == (6, list(range(6)))
    assert "try invert=yes" in told.warnings[0].detail
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
