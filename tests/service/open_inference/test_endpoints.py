"""Metadata, health, the repository and statistics; who may do what; an error is JSON with a string `error` everywhere."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from fastapi import FastAPI
from pydantic import SecretStr

import models
from models import VAE, VAEConfig
from tests.service.open_inference.bodies import ask, infer
from tests.service.open_inference.conftest import Opened

X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
OPERATIONS = ["encode", "encode_files", "decode", "sample", "interpolate", "reconstruct", "score"]


async def test_metadata(client: httpx.AsyncClient) -> None:
    server = (await client.get("/v2")).json()
    assert server.keys() == {"name", "version", "extensions"}
    assert {"binary_tensor_data", "statistics", "model_repository", "model_configuration"} <= set(server["extensions"])
    names = (await client.get("/v2/models")).json()["models"]
    assert names == [f"{model}{one}" for model in ("", "colour.", "grey.") for one in OPERATIONS]
    assert (await client.get("/v2/models/grey.encode")).json() == {
        "name": "grey.encode",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in ("mu", "sigma")],
    }
    for name in names:
        found = (await client.get(f"/v2/models/{name}/versions/1")).json()
        config = (await client.get(f"/v2/models/{name}/config")).json()
        assert found["name"] == config["name"] == name
        assert config["max_batch_size"] == 32
        assert "dynamic_batching" in config
        for kind in ("input", "output"):
            assert [one["name"] for one in config[kind]] == [one["name"] for one in found[f"{kind}s"]]
            for one, other in zip(config[kind], found[f"{kind}s"], strict=True):
                assert one["data_type"] == f"TYPE_{other['datatype']}".replace("BYTES", "STRING")
                assert one["reshape"] == {"shape": []} if len(other["shape"]) == 1 else one["dims"] == other["shape"][1:]
        assert (await client.get(f"/v2/models/{name}/ready")).json() == {"name": name, "ready": True}


async def test_default_outputs_are_those_of_the_metadata(client: httpx.AsyncClient) -> None:
    inputs: dict[str, dict[str, Any]] = {
        "decode": {"z": np.zeros((2, 3), np.float32)},
        "sample": {"seed": np.arange(2)},
        "interpolate": {"z": np.zeros((2, 2, 3), np.float32)},
    }
    for name in OPERATIONS:
        metadata = (await client.get(f"/v2/models/{name}")).json()
        found = await infer(client, name, inputs.get(name, {"image": X}))
        assert list(found) == [one["name"] for one in metadata["outputs"]], name
        for one in metadata["outputs"]:
            shape = found[one["name"]].shape
            assert len(shape) == len(one["shape"]), name
            assert all(size in (-1, own) for size, own in zip(one["shape"], shape, strict=True)), name


async def test_health(client: httpx.AsyncClient, app: FastAPI) -> None:
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await client.head("/v2/health/ready")).status_code == 200
    app.state.draining = True
    draining = await client.get("/v2/health/ready")
    assert (draining.status_code, draining.json()["code"]) == (503, "draining")
    assert (await client.get("/v2/health/live")).status_code == 200
    app.state.draining, app.state.service, service = False, None, app.state.service
    try:
        for path, status in (("health/live", 200), ("health/ready", 503), ("models/encode/ready", 503), ("models", 503)):
            answer = await client.get(f"/v2/{path}")
            assert answer.status_code == status
            assert status == 200 or answer.json()["code"] == "starting"
    finally:
        app.state.service = service
    service.pipeline.catalog.device._batcher._gate.lost = "it is gone"
    for path in ("health/live", "health/ready"):
        assert (await client.get(f"/v2/{path}")).json()["code"] == "device_lost"


async def test_errors_everywhere(client: httpx.AsyncClient) -> None:
    asked = [
        ("GET", "/v2/nothing", 404), ("GET", "/v2/models/none", 404), ("GET", "/v2/models/encode/versions/2", 404),
        ("GET", "/v2/models/encode/versions/x/config", 404), ("GET", "/v2/models/none/ready", 404),
        ("GET", "/v2/models/none/stats", 404), ("GET", "/v2/models/grey", 404), ("POST", "/v2", 405),
        ("GET", "/v2/models/encode/infer", 405), ("DELETE", "/v2/models/encode", 405), ("PUT", "/v2/health/live", 405),
        ("GET", "/v2/repository/index", 405), ("POST", "/v2/models/encode/infer", 400), ("POST", "/v2/models/none/infer", 404),
        ("POST", "/v2/repository/models/grey/load", 403), ("POST", "/v2/repository/models/grey/unload", 403),
        ("GET", "/v2/trace/setting", 404), ("GET", "/v2/systemsharedmemory/status", 404),
    ]  # fmt: skip
    for method, path, status in asked:
        answer = await client.request(method, path)
        assert answer.status_code == status, (method, path, answer.text)
        assert isinstance(answer.json()["error"], str)
    large = await client.post("/v2/models/encode/infer", content=bytes(100_001))
    assert large.status_code == 413
    assert isinstance(large.json()["error"], str)
    assert (await client.post("/v2/models/encode/infer", content=b"[1]")).json()["status"] == 400
    assert (await client.get("/v2/models/grey/ready")).json() == {"name": "grey", "ready": True}


async def test_keys(opened: Opened) -> None:
    lines = "app infer a-key-that-may-infer; operator admin a-key-of-the-operator; none - a-key-for-nothing"
    async with opened(api_keys=SecretStr(lines), admin=True) as client:

        async def statuses(key: str) -> list[int]:
            client.headers["x-api-key"] = key
            asked = [("GET", "models/encode"), ("POST", "models/encode/infer"), ("POST", "repository/models/spare/load")]
            found = []
            for method, path in [*asked, ("POST", "repository/index"), ("GET", "nothing")]:
                answer = await client.request(method, f"/v2/{path}")
                assert answer.is_success or isinstance(answer.json()["error"], str)
                found.append(answer.status_code)
            return found

        for path in ("live", "ready"):
            assert (await client.get(f"/v2/health/{path}")).status_code == 200
        assert await statuses("wrong") == [401, 401, 401, 401, 401]
        assert await statuses("a-key-for-nothing") == [200, 403, 403, 200, 404]
        assert await statuses("a-key-that-may-infer") == [200, 400, 403, 200, 404]
        assert await statuses("a-key-of-the-operator") == [200, 403, 200, 200, 404]


async def test_repository(opened: Opened, shelf: Path) -> None:
    async with opened(admin=True) as client:

        async def index(**asked: bool) -> dict[str, str]:
            answer = await client.post("/v2/repository/index", json=asked)
            assert all(one.keys() == {"name", "version", "state", "reason"} for one in answer.json())
            return {one["name"]: one["state"] for one in answer.json()}

        async def change(path: str, status: int = 200, **body: Any) -> None:
            answer = await client.post(f"/v2/repository/models/{path}", **body)
            assert answer.status_code == status, answer.text

        assert {name for name, state in (await index()).items() if state == "UNAVAILABLE"} == {
            f"spare.{one}" for one in OPERATIONS
        }
        assert (await client.post("/v2/repository/index", content=b"")).status_code == 200
        assert "spare.encode" not in await index(ready=True)
        assert (await client.get("/v2/models/spare.encode/ready")).status_code == 404
        await change("spare/load", json={})
        assert (await index())["spare.encode"] == "READY"
        assert (await client.get("/v2/models/spare.encode/ready")).status_code == 200
        before = (await client.get("/v2/models/spare.encode/config")).json()["parameters"]["loaded_model"]
        torch.manual_seed(9)
        models.save(shelf / "spare", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
        await change("spare.encode/load")  # again
        assert (await client.get("/v2/models/spare.encode/config")).json()["parameters"]["loaded_model"] != before
        await change("spare.decode/unload", json={"parameters": {"unload_dependents": False}})
        assert (await client.get("/v2/models/spare.encode/ready")).status_code == 404
        await change("first/unload", 409)
        await change("nothing/load", 404)
        await change("nothing/unload", 404)
        await change("spare/load", 400, json={"parameters": {"config": "{}"}})
        await change("spare/load", 400, json={"parameters": {"file:1/model.onnx": "AAAA"}})
        await change("spare/load", 400, content=b"no JSON")
        await change("spare/unload", 400, json={"parameters": {"unload_dependants": True}})
        await change("spare/load", 400, json={"parameter": {}})
        assert (await client.post("/v2/repository/index", json={"redy": True})).status_code == 400


async def test_under_a_root_path(opened: Opened) -> None:
    async with opened(root_path="/vae") as client:
        for path, status in (
            ("/v2", 200),
            ("/v2/models/encode", 200),
            ("/v2/models/none", 404),
            ("/v2/models/encode/infer", 405),
        ):
            for prefix in ("", "/vae"):
                answer = await client.get(f"{prefix}{path}")
                assert answer.status_code == status, (prefix, path)


async def test_pages_of_other_sites_change_nothing(opened: Opened) -> None:
    async with opened(admin=True) as client:
        refused = await client.post("/v2/repository/models/spare/load", headers={"sec-fetch-site": "cross-site"})
        assert (refused.status_code, refused.json()["code"]) == (403, "other_site")


async def test_statistics(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Rows, requests and batches are counted apart: 20 rows make two batches of the fixture's application, 16 and 4."""

    async def stats(name: str = "encode") -> Any:
        (found,) = (await client.get(f"/v2/models/{name}/stats")).json()["model_stats"]
        return found

    before = await stats()
    assert (before["inference_count"], before["execution_count"], before["batch_stats"]) == (0, 0, [])
    await infer(client, "encode", {"image": np.repeat(X, 7, 0)[:20]})
    await infer(client, "encode", {"image": X})
    assert (await ask(client, "encode", {"image": X}, parameters={"priority": 1})).status_code == 400
    found = await stats()
    assert (found["name"], found["version"]) == ("encode", "1")
    assert (found["inference_count"], found["execution_count"]) == (23, 3)
    assert {one["batch_size"]: one["compute_infer"]["count"] for one in found["batch_stats"]} == {16: 1, 4: 1, 3: 1}
    own = found["inference_stats"]
    assert (own["success"]["count"], own["fail"]["count"], own["queue"]["count"], own["compute_infer"]["count"]) == (
        2,
        1,
        2,
        2,
    )
    parts = sum(own[name]["ns"] for name in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert 0 < parts <= own["success"]["ns"] * 1.001
    assert found["last_inference"] > 1_700_000_000_000
    assert (await stats("grey.encode"))["inference_count"] == 23  # the same model
    assert (await stats("decode"))["execution_count"] == 0
    await client.post("/encode", content=npy_of(X))  # It shares the batches, but is no request of the protocol.
    after = await stats()
    assert (after["inference_count"], after["execution_count"]) == (23, 4)
    every = (await client.get("/v2/models/stats")).json()["model_stats"]
    assert len(every) == 3 * len(OPERATIONS)
    counted = app.state.sinks.metrics.families(None, ready=True)[0].samples
    assert counted["v2_infer", "200"] == 2
    assert counted["v2_infer", "400"] == 1


def npy_of(array: Any) -> bytes:
    from service.formats.npy import npy

    return npy(array)
