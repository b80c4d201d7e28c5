"""Triton's perf_analyzer, unchanged, measures the service, and reads its statistics."""

import re

import httpx
import pytest

from tests.live.open_inference.perf_analyzer import perf_analyzer
from tests.live.server import Server

pytestmark = pytest.mark.soak  # It is downloaded, 17 MB.
REQUESTS = 60  # more than a rate of requests per second, or it refuses to run


def reported(server: Server, *arguments: str) -> dict[str, int]:
    """Measure so many requests, and return the numbers of the report by their names."""
    url = server.url.removeprefix("http://")
    done = perf_analyzer("-i", "http", "-u", url, "--request-count", str(REQUESTS), *arguments)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return {name.strip(): int(number) for name, number in re.findall(r"^ +([A-Z][a-z ]+): (\d+)$", done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("way", [("--sync",), ("--async",), ("--request-rate-range", "50")])
def test_encode(server: Server, way: tuple[str, ...]) -> None:
    def counted() -> tuple[int, int, int]:
        (found,) = httpx.get(f"{server.url}/v2/models/mnist.encode/stats").json()["model_stats"]
        requests = found["inference_stats"]
        return found["inference_count"], requests["success"]["count"], requests["fail"]["count"]

    before = counted()
    concurrency = () if "--request-rate-range" in way else ("--concurrency-range", "4")
    found = reported(server, "-m", "mnist.encode", "-b", "3", *concurrency, *way)
    assert (found["Request count"], found["Inference count"]) == (REQUESTS, 3 * REQUESTS)
    assert found["Successful request count"] == REQUESTS
    assert 0 < found["Execution count"] <= REQUESTS
    inferences, succeeded, failed = (now - then for now, then in zip(counted(), before, strict=True))
    assert (inferences, failed) == (3 * succeeded, 0)
    assert succeeded >= REQUESTS  # It warms up with some more.


def test_decode_and_interpolate(server: Server) -> None:
    for model in ("mnist.decode", "mnist.interpolate", "tiny-rgb.decode"):
        found = reported(server, "-m", model, "-b", "2", "--input-data", "zero")
        assert found["Inference count"] == 2 * REQUESTS


def test_what_it_asks_for_in_vain_is_said(server: Server) -> None:
    url = server.url.removeprefix("http://")
    for arguments, words in (
        (("-m", "mnist.encoder"), "did you mean mnist.encode"),
        (("-m", "mnist.encode", "--shared-memory", "system"), "not_found: there is no endpoint at /v2/systemsharedmemory"),
        (("-m", "mnist.decode", "--input-data", "random"), "latents must be finite"),
    ):
        done = perf_analyzer("-i", "http", "-u", url, "--request-count", "5", *arguments)
        assert done.returncode != 0
        assert words in done.stdout + done.stderr
