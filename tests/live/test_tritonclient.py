"""Triton's own client, unchanged: synchronous, with greenlets, and with asyncio, against a running service."""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

from service.open_inference.kinds import TENSORS
from service.open_inference.operations import OPERATIONS
from tests.documents import OPEN_INFERENCE, blocks
from tests.live.pictures import Pixels
from tests.live.server import Server, serving

CODINGS = (None, "gzip", "deflate")
DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float16": "FP16", "bfloat16": "BF16", "float32": "FP32", "float64": "FP64"}


def given(name: str, array: NDArray[Any], binary: bool = True) -> Any:
    """An input of the client."""
    datatype = "BYTES" if array.dtype == object else DATATYPES[str(array.dtype)]
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def files(*contents: bytes) -> NDArray[Any]:
    return np.array(contents, object)


@pytest.fixture
def asked(server: Server) -> Iterator[Any]:
    """The client."""
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="session")
def x(digits: Pixels) -> NDArray[np.uint8]:
    """64 digits, (64, 28, 28, 1)."""
    return np.ascontiguousarray(digits[:64, ..., None])


def test_the_server_and_its_models(asked: Any) -> None:
    assert asked.is_server_live()
    assert asked.is_server_ready()
    assert "binary_tensor_data" in asked.get_server_metadata()["extensions"]
    names = [one["name"] for one in asked.get_model_repository_index()]
    assert {"mnist.encode", "encode", "mnist-2d.decode", "tiny-rgb.sample"} <= set(names)
    for name in names:
        assert asked.is_model_ready(name)
        assert asked.is_model_ready(name, "1")
        metadata = asked.get_model_metadata(name, "1")
        assert metadata["name"] == name
        assert asked.get_model_config(name)["max_batch_size"] > 1
    assert not asked.is_model_ready("nothing")
    assert not asked.is_model_ready("encode", "2")
    with pytest.raises(InferenceServerException, match=r"did you mean mnist\.encode") as error:
        asked.get_model_metadata("mnist.encoder")
    assert error.value.status() == "404"


def test_every_way_to_send_and_to_ask(asked: Any, x: NDArray[np.uint8], posterior: Callable[..., Any]) -> None:
    """Binary and JSON, compressed and not, in both directions: always the same bits, which are the model's."""
    mu, sigma = posterior("mnist", x[:3].transpose(0, 3, 1, 2))
    first = None
    for sent, answered, packed, expanded in itertools.product((True, False), (True, False, None), CODINGS, CODINGS):
        outputs = None
        if answered is not None:
            outputs = [
                triton.InferRequestedOutput(name, binary_data=binary) for name, binary in (("sigma", answered), ("mu", True))
            ]
        found = asked.infer(
            "mnist.encode", [given("image", x[:3], sent)], outputs=outputs, request_id="seven of nine",
            request_compression_algorithm=packed, response_compression_algorithm=expanded,
        )  # fmt: skip
        assert found.get_response()["id"] == "seven of nine"
        arrays = found.as_numpy("mu"), found.as_numpy("sigma")
        first = first or arrays
        assert all(np.array_equal(one, other) for one, other in zip(arrays, first, strict=True))
    assert first is not None
    np.testing.assert_allclose(first[0], mu, atol=1e-5)
    np.testing.assert_allclose(first[1], sigma, atol=1e-5)


def test_every_datatype(asked: Any, x: NDArray[np.uint8], pngs: list[bytes]) -> None:
    mu = asked.infer("encode", [given("image", x[:2])]).as_numpy("mu")
    floats = (x[:2].transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    np.testing.assert_allclose(asked.infer("encode", [given("image", floats)]).as_numpy("mu"), mu, atol=1e-5)
    for model in ("encode", "encode_files"):
        found = asked.infer(model, [given("image", files(*pngs[:2]))])
        assert np.array_equal(found.as_numpy("mu"), mu)
    pixels = asked.infer("decode", [given("z", mu)]).as_numpy("image")
    assert pixels.shape == (2, 28, 28, 1)
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        nearly = asked.infer("decode", [given("z", mu.astype(dtype))]).as_numpy("image")
        assert abs(nearly.astype(int) - pixels).max() < 12
    means = asked.infer("decode", [given("z", mu, binary=False)], parameters={"dtype": "FP32"}).as_numpy("image")
    assert np.array_equal(np.rint(means * 255), pixels)
    with pytest.raises(InferenceServerException, match="not finite"):
        asked.infer("decode", [given("z", mu * np.nan)])


def test_the_same_bits_alone_among_3_and_among_64(server: Server, asked: Any, x: NDArray[np.uint8]) -> None:
    """A picture alone, in one request with others, and among 64 requests at the same moment."""
    together = asked.infer("mnist.encode", [given("image", x)]).as_numpy("mu")
    for count in (1, 3):
        for i in range(0, 9, count):
            assert np.array_equal(
                asked.infer("encode", [given("image", x[i : i + count])]).as_numpy("mu"), together[i : i + count]
            )

    def alone(i: int) -> Any:
        with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
            return client.infer("mnist.encode", [given("image", x[i : i + 1])]).as_numpy("mu")

    with ThreadPoolExecutor(16) as pool:
        assert np.array_equal(np.concatenate(list(pool.map(alone, range(64)))), together)
    seeds = np.arange(64)
    drawn = asked.infer("sample", [given("seed", seeds)]).as_numpy("image")
    for i in (0, 5, 63):
        assert np.array_equal(asked.infer("sample", [given("seed", seeds[i : i + 1])]).as_numpy("image"), drawn[i : i + 1])


def test_with_greenlets(asked: Any, x: NDArray[np.uint8]) -> None:
    together = asked.infer("encode", [given("image", x)]).as_numpy("mu")
    waiting = [asked.async_infer("encode", [given("image", x[i : i + 4])]) for i in range(0, 64, 4)]
    assert np.array_equal(np.concatenate([one.get_result().as_numpy("mu") for one in waiting]), together)
    with pytest.raises(InferenceServerException, match="priority"):
        asked.async_infer("encode", [given("image", x[:1])], priority=1).get_result()


def test_with_asyncio(server: Server, x: NDArray[np.uint8]) -> None:
    async def session() -> None:
        async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("encode"))["inputs"][0]["datatype"] == "UINT8"
            assert await client.get_model_repository_index()
            together = (await client.infer("encode", [given("image", x)])).as_numpy("mu")
            for packed, expanded in itertools.product(CODINGS, CODINGS):
                found = await client.infer(
                    "encode",
                    [given("image", x[:5])],
                    outputs=[triton_aio.InferRequestedOutput("mu", binary_data=packed is None)],
                    request_compression_algorithm=packed,
                    response_compression_algorithm=expanded,
                )
                assert np.array_equal(found.as_numpy("mu"), together[:5])
            each = await asyncio.gather(*(client.infer("encode", [given("image", x[i : i + 1])]) for i in range(64)))
            assert np.array_equal(np.concatenate([one.as_numpy("mu") for one in each]), together)
            with pytest.raises(InferenceServerException, match="unknown_model"):
                await client.infer("nothing", [given("image", x)])

    asyncio.run(session())


def test_the_program_of_the_document(server: Server) -> None:
    (program,) = blocks("python", OPEN_INFERENCE)
    names: dict[str, Any] = {}
    exec(program.replace("localhost:8000", server.url.removeprefix("http://")), names)
    names["client"].close()
    assert names["mu"].shape == names["sigma"].shape == (64, 20)
    assert (names["warnings"][0]["item"], names["warnings"][0]["code"]) == (0, "blank")


def test_the_tables_of_the_document_are_those_of_the_code() -> None:
    tables = OPEN_INFERENCE.partition("## Errors")[0].split("What data are")
    operations, kinds = (re.findall(r"^\| `?(\w+)`? \| (.*) \|$", part, re.MULTILINE) for part in tables)
    assert [name for name, _ in operations] == ["operation", *OPERATIONS]
    assert [re.findall(r"`(\w+)`", cells)[:1] for _, cells in kinds[1:]] == [[one.name] for one in TENSORS.values()]


def test_extensions_are_honoured_or_refused(asked: Any, x: NDArray[np.uint8]) -> None:
    image = [given("image", x[:1])]
    assert asked.infer("encode", image, timeout=60_000_000, priority=0).as_numpy("mu").shape == (1, 20)
    classes = asked.infer("encode", image, outputs=[triton.InferRequestedOutput("mu", class_count=2)]).as_numpy("mu")
    assert [one.count(b":") for one in classes[0]] == [1, 1]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("priority", {"priority": 2}),
        ("sequence_id", {"sequence_id": 7, "sequence_start": True}),
        ("deadline_exceeded", {"timeout": 1}),
        ("did you mean seed", {"parameters": {"sede": 1}}),
        ("did you mean sigma", {"outputs": [triton.InferRequestedOutput("sigmas")]}),
        ("no version '3'", {"model_version": "3"}),
    ]
    for words, options in refused:
        with pytest.raises(InferenceServerException, match=words):
            asked.infer("encode", image, **options)


def test_statistics(server: Server, asked: Any, x: NDArray[np.uint8]) -> None:
    def stats() -> Any:
        (found,) = asked.get_inference_statistics("tiny-rgb.encode", "1")["model_stats"]
        return found

    before, pixels = stats(), np.zeros((5, 9, 7, 3), np.uint8)
    for count in (5, 2):
        asked.infer("tiny-rgb.encode", [given("image", pixels[:count])])
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 7
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 2
    assert {5, 2} <= {one["batch_size"] for one in after["batch_stats"]}
    assert len(asked.get_inference_statistics()["model_stats"]) == len(asked.get_model_repository_index())
    assert 'operation="v2_infer"' in httpx.get(f"{server.url}/metrics").text


def test_models_come_and_go_with_a_key(models_dir: Path, x: NDArray[np.uint8]) -> None:
    keys = {"VAE_API_KEYS": "app infer the-key-of-the-application; op infer,admin the-key-of-the-operator"}
    with (
        serving("--models-dir", str(models_dir), "--models", "mnist", "--admin", "true", variables=keys) as server,
        triton.InferenceServerClient(server.url.removeprefix("http://")) as client,
    ):
        with pytest.raises(InferenceServerException, match="unauthorized"):
            client.get_server_metadata()
        headers = {"Authorization": "Bearer the-key-of-the-operator"}
        assert not client.is_model_ready("mnist-2d.encode", headers=headers)
        client.load_model("mnist-2d", headers=headers)
        assert client.infer("mnist-2d.encode", [given("image", x[:1])], headers=headers).as_numpy("mu").shape == (1, 2)
        with pytest.raises(InferenceServerException, match="lacks the scope 'admin'"):
            client.unload_model("mnist-2d", headers={"X-API-Key": "the-key-of-the-application"})
        client.unload_model("mnist-2d.encode", headers=headers)
        states = {one["name"]: one["state"] for one in client.get_model_repository_index(headers=headers)}
        assert (states["mnist.encode"], states["mnist-2d.encode"]) == ("READY", "UNAVAILABLE")
        with pytest.raises(InferenceServerException, match="config and files cannot be sent"):
            client.load_model("mnist-2d", headers=headers, config="{}")
        client.register_plugin(BasicAuth("anybody", "the-key-of-the-application"))
        assert client.infer("encode", [given("image", x[:1])]).as_numpy("mu").shape == (1, 20)
