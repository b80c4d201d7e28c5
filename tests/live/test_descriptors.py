"""A service that was started without standard input, output and error, as some supervisors do."""

import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from .server import PATIENCE_SECONDS, ROOT, command, environment


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
def test_it_serves_and_ends_without_standard_descriptors(tmp_path: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = command("--port", str(port), "--device", "cpu", "--threads", "1", "--drain-seconds", "0", "--workers", workers)
    store = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
    closing = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *options]
    process = subprocess.Popen(closing, cwd=ROOT, env=environment(**store))
    try:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.05)
        assert httpx.get(f"http://127.0.0.1:{port}/sample").status_code == 200
        descriptors = Path(f"/proc/{process.pid}/fd")
        if descriptors.exists():
            assert {str((descriptors / number).readlink()) for number in "012"} == {"/dev/null"}
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
