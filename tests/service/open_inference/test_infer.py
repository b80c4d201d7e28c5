"""Inference over the protocol: the same numbers as those of the REST API, for every way to send and to ask."""

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.engine.batcher import Batcher
from tests.service.open_inference.bodies import HEADER, ask, body, infer, outputs

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
Z = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)


def png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(out, "PNG")
    return out.getvalue()


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


async def posterior(client: httpx.AsyncClient, x: Any = X) -> Any:
    """(2, N, D): mu and sigma as the REST API answers them."""
    answer = await client.post("/encode?format=npy", content=npy(x))
    return np.load(io.BytesIO(answer.content))


@pytest.mark.parametrize("binary", [True, False])
async def test_encode(client: httpx.AsyncClient, binary: bool) -> None:
    mu, sigma = await posterior(client)
    for model in ("grey.encode", "encode", "grey.encode_files"):
        found = await infer(client, model, {"image": X}, binary)
        assert list(found) == ["mu", "sigma"]
        assert np.array_equal(found["mu"], mu)
        assert np.array_equal(found["sigma"], sigma)
    asked = [{"name": "sigma", "parameters": {"binary_data": True}}, {"name": "kl"}, {"name": "z"}, {"name": "logvar"}]
    answer = await ask(client, "encode", {"image": X}, binary, outputs=asked, parameters={"seed": 5}, id="a b")
    found = outputs(answer)
    assert list(found) == ["sigma", "kl", "z", "logvar"]
    rest = (await client.post("/encode?include=kl,z,logvar&seed=5", content=npy(X))).json()
    for name, values in found.items():
        assert np.array_equal(values, np.array(rest[name], np.float32)), name
    head = json.loads(answer.content[: int(answer.headers[HEADER])])
    assert (head["id"], head["model_name"], head["model_version"]) == ("a b", "encode", "1")
    assert head["parameters"] == {"seed": 5}
    assert answer.headers["x-model"].startswith("grey@sha256:")
    assert "compute;dur=" in answer.headers["server-timing"]


async def test_pictures_as_files_and_floats(client: httpx.AsyncClient) -> None:
    mu, _ = await posterior(client)
    for model in ("encode", "encode_files"):
        for files in ([png(one) for one in X],):
            assert np.array_equal((await infer(client, model, {"image": files}))["mu"], mu)
        floats = (X.transpose(0, 3, 1, 2) / 255).astype(np.float32)
        assert np.array_equal(
            (await infer(client, model, {"image": floats}))["mu"], (await posterior(client, X / np.float32(255)))[0]
        )
    colour = np.random.default_rng(2).integers(0, 256, (2, 12, 16, 3), np.uint8)
    last = await infer(client, "colour.encode", {"image": colour})
    assert np.array_equal(
        (await infer(client, "colour.encode", {"image": np.ascontiguousarray(colour.transpose(0, 3, 1, 2))}))["mu"], last["mu"]
    )
    one_column = await infer(client, "encode_files", {"image": [png(X[0])]})
    content, headers = body({"image": [png(X[0])]})
    shaped = content.replace(b'"shape": [1]', b'"shape": [1, 1]')
    headers[HEADER] = str(int(headers[HEADER]) + 3)
    answer = await client.post("/v2/models/encode_files/infer", content=shaped, headers=headers)
    assert np.array_equal(outputs(answer)["mu"], one_column["mu"])


async def test_all_outputs_binary_or_json(client: httpx.AsyncClient) -> None:
    plain = await ask(client, "encode", {"image": X})
    assert HEADER not in plain.headers
    assert plain.headers["content-type"] == "application/json"
    assert all(len(one["data"]) == 9 for one in plain.json()["outputs"])
    binary = await ask(client, "encode", {"image": X}, parameters={"binary_data_output": True})
    assert binary.headers["content-type"] == "application/octet-stream"
    assert outputs(binary).keys() == {"mu", "sigma"}
    asked = [{"name": "mu"}, {"name": "sigma", "parameters": {"binary_data": False}}]
    mixed = await ask(client, "encode", {"image": X}, outputs=asked, parameters={"binary_data_output": True})
    kinds = ["data" in one for one in json.loads(mixed.content[: int(mixed.headers[HEADER])])["outputs"]]
    assert kinds == [False, True]
    assert np.array_equal(outputs(mixed)["sigma"], outputs(plain)["sigma"])


async def test_classification(client: httpx.AsyncClient) -> None:
    """The largest numbers of each item with their places, as Triton writes them."""
    mu = (await infer(client, "encode", {"image": X}))["mu"]
    for count, binary in ((2, True), (9, False)):
        asked = [{"name": "mu", "parameters": {"classification": count, "binary_data": binary}}, {"name": "sigma"}]
        found = await infer(client, "encode", {"image": X}, outputs=asked)
        assert found["sigma"].shape == (3, 3)
        wanted = [[f"{row[k]:f}:{k}" for k in np.argsort(-row)[:count]] for row in mu]
        assert [[one if isinstance(one, str) else one.decode() for one in row] for row in found["mu"]] == wanted
    asked = [{"name": "image", "parameters": {"classification": 1}}]
    brightest = (await infer(client, "decode", {"z": Z}, outputs=asked))["image"]
    pixels = (await infer(client, "decode", {"z": Z}))["image"].reshape(3, -1)
    assert brightest.ravel().tolist() == [f"{row.max()}:{row.argmax()}" for row in pixels]


async def test_nothing_but_the_data(client: httpx.AsyncClient) -> None:
    """The raw binary request: the body is the only input, and one item."""
    mu, _ = await posterior(client)
    for model, content in (("encode", X[1].tobytes()), ("encode_files", png(X[1]))):
        answer = await client.post(f"/v2/models/{model}/infer", content=content, headers={HEADER: "0"})
        assert HEADER in answer.headers
        assert np.array_equal(outputs(answer)["mu"], mu[1:2])
    refused = await client.post("/v2/models/encode/infer", content=X.tobytes(), headers={HEADER: "0"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")


async def test_warnings_are_among_the_parameters(client: httpx.AsyncClient) -> None:
    """Clients of Triton show the parameters of an answer, and not its headers."""
    blank = X.copy()
    blank[1] = 255
    rest = await client.post("/encode", content=npy(blank))
    for model in ("encode", "reconstruct", "score"):
        answer = await ask(client, model, {"image": blank}, parameters={"binary_data_output": True})
        head = json.loads(answer.content[: int(answer.headers[HEADER])])
        warnings = json.loads(head["parameters"]["warnings"])
        assert warnings == rest.json()["warnings"]
        assert (warnings[0]["item"], warnings[0]["code"]) == (1, "blank")
        assert answer.headers["x-warnings"] == str(len(warnings))
    assert "parameters" not in (await ask(client, "encode", {"image": X})).json()


@pytest.mark.parametrize("datatype", ["float16", "float32", "float64"])
async def test_decode(client: httpx.AsyncClient, datatype: str) -> None:
    z = Z.astype(datatype)
    means = np.load(io.BytesIO((await client.post("/decode?format=npy&dtype=float32", content=npy(z))).content))
    pixels = (await infer(client, "decode", {"z": z}))["image"]
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 8, 8, 1)
    assert np.array_equal(pixels, np.rint(means * 255))
    assert np.array_equal((await infer(client, "decode", {"z": z}, parameters={"dtype": "FP32"}))["image"], means)
    drawn = await infer(client, "decode", {"z": z}, parameters={"pixels": "sample", "seed": 3})
    rest = np.load(io.BytesIO((await client.post("/decode?format=npy&pixels=sample&seed=3", content=npy(z))).content))
    assert np.array_equal(drawn["image"], rest)


async def test_bfloat16(client: httpx.AsyncClient) -> None:
    upper = (Z.view(np.uint32) >> 16).astype(np.uint16)
    content, headers = body({"z": upper.view(np.float16)})
    answer = await client.post("/v2/models/decode/infer", content=content.replace(b"FP16", b"BF16"), headers=headers)
    same = (upper.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(outputs(answer)["image"], (await infer(client, "decode", {"z": same}))["image"])


async def test_sample(client: httpx.AsyncClient) -> None:
    """Each seed gives what the REST API gives for it alone, whatever the others are."""
    seeds = np.array([7, 0, 2**53 - 1, 7], np.int64)
    every: list[dict[str, Any]] = [{}, {"prior": "standard", "temperature": 0.5}, {"label": "cat"}, {"pixels": "sample"}]
    for more in every:
        found = await infer(client, "sample", {"seed": seeds}, outputs=[{"name": "image"}, {"name": "z"}], parameters=more)
        for i, seed in enumerate(seeds.tolist()):
            rest = await client.get("/sample", params={"seed": seed, "format": "npy", **more})
            assert np.array_equal(found["image"][i : i + 1], np.load(io.BytesIO(rest.content))), (seed, more)
    assert np.array_equal(
        (await infer(client, "sample", {"seed": seeds[:, None]}))["image"],
        (await infer(client, "sample", {"seed": seeds}))["image"],
    )


async def test_interpolate(client: httpx.AsyncClient) -> None:
    pairs = np.stack([Z[:2], Z[1:]])
    found = await infer(
        client, "interpolate", {"z": pairs}, outputs=[{"name": "image"}, {"name": "z"}], parameters={"steps": 5}
    )
    assert found["image"].shape == (2, 5, 8, 8, 1)
    for i, (start, end) in enumerate(pairs.tolist()):
        asked = {"start": {"z": start}, "end": {"z": end}, "steps": 5}
        rest = await client.post("/interpolate?format=npy", json=asked)
        assert np.array_equal(found["image"][i], np.load(io.BytesIO(rest.content)))
    refused = await ask(client, "interpolate", {"z": np.zeros((1, 2, 2), np.float32)})
    assert "input 'z' has the shape [1, 2, 2], but [N, K, 3] is needed" in refused.json()["error"]
    assert "or [K, 3] for one path" in refused.json()["error"]
    many = await infer(client, "interpolate", {"z": np.resize(Z, (1, 9, 3))})
    assert many["image"].shape == (1, 9, 8, 8, 1)  # as many steps as the path has latents
    alone = await infer(client, "interpolate", {"z": Z}, parameters={"method": "slerp"})
    assert alone["image"].shape == (8, 8, 8, 1)
    asked = {"points": [{"z": one} for one in Z.tolist()], "method": "slerp"}
    assert np.array_equal(
        alone["image"], np.load(io.BytesIO((await client.post("/interpolate?format=npy", json=asked)).content))
    )


async def test_reconstruct_and_score(client: httpx.AsyncClient) -> None:
    made = await infer(client, "reconstruct", {"image": X}, parameters={"mode": "sample", "seed": 4})
    rest = await client.post("/reconstruct?format=npy&mode=sample&seed=4", content=npy(X))
    assert np.array_equal(made["image"], np.load(io.BytesIO(rest.content)))
    found = await infer(client, "score", {"image": X})
    scored = (await client.post("/score", content=npy(X))).json()
    assert found.keys() == {*scored["scores"], "p_value"}
    assert np.array_equal(found["knn"], np.array(scored["scores"]["knn"]["value"], np.float32))
    assert np.array_equal(found["p_value"], np.array(scored["p_value"], np.float32))
    asked = [{"name": "iwae"}, {"name": "iwae_p_value"}]
    more = await infer(client, "score", {"image": X}, outputs=asked, parameters={"seed": 2})
    scored = (await client.post("/score?scores=iwae&seed=2", content=npy(X))).json()["scores"]["iwae"]
    assert np.array_equal(more["iwae"], np.array(scored["value"], np.float32))
    assert np.array_equal(more["iwae_p_value"], np.array(scored["p_value"], np.float32))


async def test_the_same_bits_alone_and_in_company(client: httpx.AsyncClient) -> None:
    alone = await infer(client, "encode", {"image": X[:1]})
    many = await asyncio.gather(*(infer(client, "encode", {"image": X}) for _ in range(10)))
    assert all(np.array_equal(one["mu"][:1], alone["mu"]) for one in many)
