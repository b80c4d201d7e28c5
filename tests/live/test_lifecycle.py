"""Start and end: readiness, models that cannot be loaded, settings that do not exist, a port in use, SIGTERM, a restart."""

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

import models

from .pictures import text
from .problems import problem
from .server import PATIENCE_SECONDS, ROOT, Server, command, environment, serving


@pytest.fixture
def tiny_dir(tmp_path: Path) -> Path:
    """A directory with one small model, `tiny`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models.save(tmp_path / "tiny", models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [8]})))
    return tmp_path


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A start that is expected to end by itself."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_starting_means_not_ready(tiny_dir: Path) -> None:
    """A database that accepts connections and says nothing keeps the service starting, until the test takes it away."""
    silent = socket.create_server(("127.0.0.1", 0))
    store = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
    with silent, serving("--models-dir", str(tiny_dir), ready=False, variables={"VAE_STORE": store}, anew=True) as server:
        server.wait_until_listening()
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/health/live").status_code == 200
            body = json.dumps({"images": ["x"]}).encode()
            for answer in (
                client.get("/health/ready"),
                client.get("/models"),
                client.get("/models/tiny"),
                client.get("/info"),
                client.get("/sample"),
                client.post("/encode", content=body),
                client.post("/decode", content=body),
                client.post("/interpolate", content=body),
                client.post("/reconstruct", content=body),
            ):
                problem(answer, 503, "starting", "loading")
            for path in ("/docs", "/openapi.json"):
                assert client.get(path).status_code == 200
            silent.close()
            server.wait_until_ready()
            assert client.get("/sample?seed=1").raise_for_status().json()["model"] == "tiny"  # the only one


def broken(directory: Path, how: str) -> str:
    """Break the model; the words that must be in the message."""
    config, weights = directory / "tiny" / "config.json", directory / "tiny" / "model.safetensors"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
        return "truncated"
    if how == "of another model":
        raw = json.loads(config.read_text())
        raw["model"]["latent_dim"] = 3
        config.write_text(json.dumps(raw))
        return "should be"
    weights.unlink()
    return "no such file"


@pytest.mark.parametrize(
    "how", ["truncated", *(pytest.param(how, marks=pytest.mark.soak) for how in ("of another model", "missing"))]
)
def test_a_broken_checkpoint_ends_the_start(tiny_dir: Path, how: str) -> None:
    """One that is named, or the only one."""
    words = broken(tiny_dir, how)
    ended = run("--port", "0", "--device", "cpu", "--models-dir", str(tiny_dir), "--models", "tiny")
    assert ended.returncode == 1, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("ERROR", "CRITICAL", "Traceback"))]
    assert len(errors) == 1, ended.stderr
    for word in ("tiny", str(tiny_dir / "tiny" / "model.safetensors"), words):
        assert word in errors[0], errors


def test_a_broken_checkpoint_among_others_is_left_out(tiny_dir: Path) -> None:
    broken(tiny_dir, "truncated")
    with torch.random.fork_rng():
        models.save(tiny_dir / "good", models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [8]})))
    with serving("--models-dir", str(tiny_dir), "--admin", "true") as server:
        server.poll(lambda: any(line.startswith("ERROR") for line in server.lines))  # its log may come a little later
        (line,) = [line for line in server.lines if line.startswith("ERROR")]
        assert "cannot load the model tiny: " in line
        assert (server.info()["models"], server.info()["failed_models"]) == (["good"], ["tiny"])
        counts = httpx.get(f"{server.url}/metrics").text
        assert 'vae_model_loads_total{model="tiny",result="failed"} 1' in counts
        with torch.random.fork_rng():
            models.save(tiny_dir / "tiny", models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [8]})))
        httpx.post(f"{server.url}/admin/models/tiny/load", timeout=PATIENCE_SECONDS).raise_for_status()
        assert server.info()["failed_models"] == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--models", "tyni"), "tyni"),
        pytest.param(("--models", "../tiny"), "../tiny", marks=pytest.mark.soak),
        pytest.param(("--models-dir", "/nonexistent"), "/nonexistent", marks=pytest.mark.soak),
        pytest.param(("--default-model", "mnist"), "mnist", marks=pytest.mark.soak),
    ],
)
def test_models_that_are_not_there_end_the_start(tiny_dir: Path, arguments: tuple[str, ...], word: str) -> None:
    ended = run("--port", "0", "--device", "cpu", "--models-dir", str(tiny_dir), *arguments)
    assert ended.returncode == 1, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("ERROR", "CRITICAL", "Traceback"))]
    assert len(errors) == 1, ended.stderr
    assert word in errors[0]


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ((), {"VAE_PROT": "8000"}, ["VAE_PROT", "did you mean VAE_PORT?"]),
        (("--max-rows", "9000"), {}, ["max_queue_rows"]),
        pytest.param((), {"VAE_MAX_BATCH": "12"}, ["max_batch", "12"], marks=pytest.mark.soak),
        pytest.param(("--device", "gpu"), {}, ["device", "gpu"], marks=pytest.mark.soak),
    ],
)
def test_settings_that_do_not_exist_or_fit(arguments: tuple[str, ...], variables: dict[str, str], words: list[str]) -> None:
    ended = run(*arguments, **variables)
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    for word in words:
        assert word in ended.stderr


def test_a_port_in_use(tiny_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--port", port, "--device", "cpu", "--models-dir", str(tiny_dir))
    assert ended.returncode == 1, ended.stderr
    assert re.search(rf"{port}.*address already in use", ended.stderr)
    assert "Traceback" not in ended.stderr


def test_variables_are_settings_and_flags_win(tiny_dir: Path) -> None:
    variables = {"VAE_MODELS_DIR": str(tiny_dir), "VAE_MAX_ROWS": "32", "VAE_MAX_QUEUE_ROWS": "128", "VAE_DATA_DIR": "/x"}
    with serving("--max-rows", "64", "--shutdown-seconds", "1", variables=variables, anew=True) as server:
        info = server.info()
        assert (info["limits"]["max_rows"], info["limits"]["max_queue_rows"]) == (64, 128)
        assert info["models"] == ["tiny"]
        # an upload that never ends does not keep the service from ending, and is told so
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as caller:
            caller.sendall(b"POST /encode HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n\x89PNG")
            assert caller.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for the rest
            server.terminate()
            with caller.makefile("rb") as file:
                answer = file.read()
            assert server.wait() == 0, server.log
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 "), answer
    assert json.loads(body)["code"] == "draining"


def test_sigterm_while_starting(models_dir: Path) -> None:
    server = Server("--models-dir", str(models_dir), anew=True)
    try:
        server.wait_until_listening()
        server.terminate()
        assert server.wait() == 0, server.log
        assert "Traceback" not in server.log
    finally:
        server.kill()


def test_the_same_bytes_after_a_restart(server: Server, pngs: list[bytes]) -> None:
    """The other service has the shipped models from their own place, and checks its batch sizes anew."""
    files = [("image", ("x", png)) for png in pngs[:20]]
    requests: list[tuple[str, str, dict[str, Any]]] = [
        *(("POST", "/encode?include=z,kl&seed=1", {"content": png}) for png in pngs[:8]),
        ("POST", "/encode?include=z&seed=3", {"files": files}),
        ("POST", "/encode?model=fashion-mnist&format=npy", {"files": files}),
        ("GET", "/sample?n=100&seed=7&format=npy&dtype=float32", {}),
        ("GET", "/sample?n=9&seed=7&format=png&model=mnist-2d", {}),
        ("POST", "/reconstruct?mode=sample&seed=2&format=npy&dtype=float32", {"files": files}),
        ("POST", "/interpolate?format=webp", {"json": {"start": {"image": text(pngs[0])}, "end": {"z": [1.0] * 20}}}),
    ]
    before = [httpx.request(method, server.url + path, **body).raise_for_status() for method, path, body in requests]
    with serving("--models", "mnist,fashion-mnist,mnist-2d", anew=True) as other:
        after = [httpx.request(method, other.url + path, **body).raise_for_status() for method, path, body in requests]
    assert [answer.content for answer in before] == [answer.content for answer in after]
    assert [answer.headers["x-model"] for answer in before] == [answer.headers["x-model"] for answer in after]
