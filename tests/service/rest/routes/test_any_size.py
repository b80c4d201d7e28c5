"""The REST endpoints with a model of diffusers: pictures of any size, latents flat or with their shape, and collections."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from vae_client import AsyncClient

from tests.autoencoders import CHANNELS
from tests.service.autoencoder_service import picture, refusal, text

pytestmark = pytest.mark.asyncio(loop_scope="module")


def npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def of_npy(answer: httpx.Response) -> NDArray[Any]:
    assert answer.status_code == 200, answer.text
    array: NDArray[Any] = np.load(io.BytesIO(answer.content))
    return array


def of_json(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_models_say_what_their_latents_are(kl_client: httpx.AsyncClient) -> None:
    found = of_json(await kl_client.get("/models/kl"))
    assert (found["latent_dim"], found["latent_shape"], found["shape"]) == (64, [4, 4, 4], [16, 16, 3])
    assert found["config"]["arch_options"]["scaling_factor"] == 0.5
    assert of_json(await kl_client.get("/models/grey"))["latent_shape"] == [3]


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
async def test_encode_and_decode_any_size(kl_client: httpx.AsyncClient, size: tuple[int, int]) -> None:
    shape = (CHANNELS, size[0] // 4, size[1] // 4)
    answer = await kl_client.post("/encode", content=picture(*size))
    found = of_json(answer)
    assert found["latent_shape"] == list(shape)
    assert answer.headers["x-latent-shape"] == ",".join(map(str, shape))
    flat = of_npy(await kl_client.post("/encode?format=npy", content=picture(*size)))
    shaped = of_npy(await kl_client.post("/encode?format=npy&shaped=true", content=picture(*size)))
    assert shaped.shape == (2, 1, *shape)
    np.testing.assert_array_equal(shaped.reshape(flat.shape), flat)
    np.testing.assert_array_equal(np.float32(found["mu"]), flat[0])
    decoded = of_npy(await kl_client.post("/decode?format=npy&dtype=float32", content=npy(shaped[0])))
    assert decoded.shape == (1, *size, 3)
    nested = await kl_client.post("/decode?format=npy&dtype=float32", json={"z": shaped[0].tolist()})
    np.testing.assert_array_equal(of_npy(nested), decoded)
    one_by_one = await kl_client.post("/decode", json={"mu": shaped[0].tolist()})
    assert of_json(one_by_one)["shape"] == [*size, 3]
    png = await kl_client.post("/decode?format=png", content=npy(shaped[0]))
    assert Image.open(io.BytesIO(png.content)).size == size[::-1]
    again = of_npy(await kl_client.post("/reconstruct?format=npy&dtype=float32", content=picture(*size)))
    np.testing.assert_array_equal(again, decoded)


async def test_flat_latents_are_of_the_own_size(kl_client: httpx.AsyncClient) -> None:
    z = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    flat = of_npy(await kl_client.post("/decode?format=npy", content=npy(z)))
    np.testing.assert_array_equal(flat, of_npy(await kl_client.post("/decode?format=npy", json={"z": z.tolist()})))
    shaped = npy(z.reshape(2, 4, 4, 4))
    np.testing.assert_array_equal(flat, of_npy(await kl_client.post("/decode?format=npy", content=shaped)))
    assert "takes numbers of shape (N, 64)" in refusal(await kl_client.post("/decode", content=npy(z[:, :60])))


@pytest.mark.parametrize(
    ("z", "words"),
    [
        ([[[[1.0]]]], "z has the shape (1, 1, 1, 1), but the model takes latents of the shape (N, 4, h, w)"),
        ([[[[]], [[]], [[]], [[]]]], "each side at least 1"),
        ([[[[1.0]], [[1.0]], [[1.0]], [["1"]]]], "z contains strings"),
        ([[[[1.0]], [[1.0]], [[1.0]], [[1.0, 2.0]]]], "the lists of z differ in length"),
        ([[[[1.0]], [[1.0]], [[1.0]], 3]], "z must be lists in lists, 4 deep"),
        ([[[[1.0]], [[1.0]], [[1.0]], [[1e9]]]], "latents must be finite and between"),
    ],
)
async def test_latents_that_are_refused(kl_client: httpx.AsyncClient, z: Any, words: str) -> None:
    assert words in refusal(await kl_client.post("/decode", json={"z": z}))


async def test_shaped_is_for_npy_and_for_latents_with_a_shape(kl_client: httpx.AsyncClient) -> None:
    assert "shaped is for npy" in refusal(await kl_client.post("/encode?shaped=true", content=picture(16, 16)))
    grey = await kl_client.post("/encode?shaped=true&format=npy&model=grey", content=picture(8, 8))
    assert "the latents of 'grey' are flat, (3,); choose a model whose latent_shape has three numbers: kl" in refusal(grey)
    shaped = await kl_client.post("/decode?model=grey", content=npy(np.zeros((1, 4, 4, 4), np.float32)))
    assert "takes numbers of shape (N, 3)" in refusal(shaped)


async def test_a_cut_picture_has_a_warning(kl_client: httpx.AsyncClient) -> None:
    ((warning),) = of_json(await kl_client.post("/encode", content=picture(18, 25)))["warnings"]
    assert warning["code"] == "cut"
    assert "16 x 24 pixels, was cut out of 18 x 25" in warning["detail"]


async def test_arrays_of_pictures(kl_client: httpx.AsyncClient) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), np.uint8)
    found = of_json(await kl_client.post("/encode", content=npy(pixels)))
    assert (len(found["mu"]), found["latent_shape"]) == (2, [4, 2, 3])
    assert "multiple of 4" in refusal(await kl_client.post("/encode", content=npy(pixels[:, :7])))
    assert "(N, 8, 12, 3)" in refusal(await kl_client.post("/encode", content=npy(pixels[..., :2])))


async def test_pictures_of_several_sizes(kl_client: httpx.AsyncClient) -> None:
    images = [text(picture(16, 16)), text(picture(16, 20))]
    detail = refusal(await kl_client.post("/encode", json={"images": images}))
    assert detail.startswith(
        "item 1: the picture has 16 x 20 pixels (height x width) after the cut to multiples of 4, but the"
    )
    assert "send them in several requests" in detail


@pytest.mark.parametrize("size", [(16, 16), (24, 8)])
async def test_paths_between_pictures_and_latents(kl_client: httpx.AsyncClient, size: tuple[int, int]) -> None:
    first, last = picture(*size), picture(*size, seed=1)
    parameters = "/interpolate?format=npy&dtype=float32&steps=3"
    files = {"start": ("a.png", first), "end": ("b.png", last)}
    frames = of_npy(await kl_client.post(parameters, files=files))
    assert frames.shape == (3, *size, 3)
    by_json = {"start": {"image": text(first)}, "end": {"image": text(last)}}
    np.testing.assert_array_equal(of_npy(await kl_client.post(parameters, json=by_json)), frames)
    mu = of_npy(await kl_client.post("/encode?format=npy&shaped=true", json={"images": [text(first), text(last)]}))[0]
    mixed = {"start": {"z": mu[0].tolist()}, "end": {"image": text(last)}}
    np.testing.assert_array_equal(of_npy(await kl_client.post(parameters, json=mixed)), frames)
    listed = {"points": [{"mu": one.tolist()} for one in mu]}
    np.testing.assert_array_equal(of_npy(await kl_client.post(parameters, json=listed)), frames)
    square = {"corners": [{"mu": one.tolist()} for one in (mu[0], mu[1], mu[1], mu[0])]}
    assert of_npy(await kl_client.post(parameters, json=square)).shape == (9, *size, 3)
    gif = await kl_client.post("/interpolate?format=gif", files=files)
    assert Image.open(io.BytesIO(gif.content)).size == size[::-1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"start": {"image": text(picture(16, 16))}, "end": {"image": text(picture(8, 8))}},
            "point 1: the picture has 8 x 8 pixels",
        ),
        (
            {"start": {"image": text(picture(8, 8))}, "end": {"z": [0.0] * 64}},
            "points are of pictures of 8 x 8 and 16 x 16 pixels",
        ),
        ({"start": {"z": [0.0] * 63}, "end": {"z": [0.0] * 64}}, "z of start has 63 numbers, but the model kl takes 64"),
        ({"start": {"image": 3}, "end": {"z": [0.0] * 64}}, "the image of start must be a string"),
        ({"start": {"id": "a"}, "end": {"z": [0.0] * 64}}, "collection"),
        ({"points": [{"z": [0.0] * 64}]}, "a path needs at least 2"),
        ({"points": [], "start": {"z": [0.0] * 64}}, "send start and end, or points"),
        ({"start": {"z": [0.0] * 64}}, "'end' must be"),
    ],
)
async def test_paths_that_are_refused(kl_client: httpx.AsyncClient, body: Any, words: str) -> None:
    assert words in refusal(await kl_client.post("/interpolate", json=body))


async def test_samples_are_of_the_own_size(kl_client: httpx.AsyncClient) -> None:
    found = of_json(await kl_client.get("/sample?n=2&seed=7&include=z"))
    assert (found["prior"], found["shape"], np.shape(found["z"])) == ("aggregate", [16, 16, 3], (2, 64))
    standard = of_json(await kl_client.get("/sample?n=2&seed=7&include=z&prior=standard"))
    np.testing.assert_allclose(found["z"], 2 * np.array(standard["z"]), rtol=1e-6)


async def test_a_collection_holds_the_own_size_only(kl_client: httpx.AsyncClient) -> None:
    created = of_json(await kl_client.put("/collections/pictures", json={"model": "kl"}))
    assert created["latent_dim"] == 64
    own = await kl_client.post("/collections/pictures/items", json={"items": [{"id": "a", "image": text(picture(16, 16))}]})
    assert own.status_code == 200, own.text
    other = await kl_client.post("/collections/pictures/items", json={"items": [{"id": "b", "image": text(picture(16, 20))}]})
    assert "16 x 20 pixels (height x width), and here the model takes 16 x 16 only; resize it" in refusal(other)
    stored = of_json(await kl_client.get("/collections/pictures/items/a"))
    mu = of_json(await kl_client.post("/encode", content=picture(16, 16)))["mu"]
    assert stored["mu"] == mu[0]
    hits = of_json(await kl_client.post("/collections/pictures/search", content=picture(16, 16)))
    assert hits["neighbors"][0]["id"] == "a"
    assert of_json(await kl_client.get("/collections/pictures/coverage?bandwidth=1"))["prior"] == "aggregate"
    path = await kl_client.post("/interpolate?collection=pictures&steps=2", json={"start": {"id": "a"}, "end": {"z": mu[0]}})
    assert of_json(path)["shape"] == [16, 16, 3]
    assert "here the model takes 16 x 16 only" in refusal(await kl_client.post("/score", content=picture(16, 20)))


async def test_the_client_keeps_the_shape_of_latents(kl_app: FastAPI) -> None:
    caller, pixels = AsyncClient("http://test", transport=httpx.ASGITransport(kl_app)), np.zeros((3, 24, 40, 3), np.uint8)
    pixels[1] = 200
    plain, more = await caller.encode(pixels, model="kl"), await caller.encode(pixels, include="kl", model="kl")
    many = await caller.encode_many(list(pixels), batch_size=2, model="kl")
    for found in (plain, more, many, plain[1:]):
        assert (found.latent_shape, found.mu.shape[1]) == ((CHANNELS, 6, 10), 240)
    decoded = (await caller.decode(plain, model="kl")).pixels
    assert decoded.shape == (3, 24, 40, 3)
    shaped = plain.mu.reshape(-1, *plain.latent_shape)
    assert np.array_equal((await caller.decode(shaped, model="kl")).pixels, decoded)
    assert (await caller.encode(np.zeros((8, 8), np.uint8), model="grey")).latent_shape == ()
    with pytest.raises(ValueError, match=r"several sizes: their latents have the shapes \(4, 2, 2\) and \(4, 6, 10\)"):
        await caller.encode_many([pixels[0], np.zeros((8, 8, 3), np.uint8)], batch_size=1, model="kl")


async def test_info_and_metrics_show_lanes_that_were_made_later(kl_client: httpx.AsyncClient) -> None:
    await kl_client.post("/encode", content=picture(32, 4))
    lanes = of_json(await kl_client.get("/info"))["engine"]["kl"]
    assert lanes["encode_3x32x4"]["rows"] >= 1
    metrics = (await kl_client.get("/metrics")).text
    (rows,) = [line for line in metrics.splitlines() if line.startswith('vae_rows_total{lane="encode",model="kl"')]
    assert float(rows.split()[-1]) >= sum(lane["rows"] for name, lane in lanes.items() if name.startswith("encode_3x"))
    assert "3x32x4" not in metrics
