"""Two nodes of Ray Serve answer as a plain server does."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle, islice

import httpx
import numpy as np
import pytest

from tests.live.mixture import Request, mixture, request
from tests.live.pictures import Pixels, encoded, npy, text
from tests.live.server import ROOT, Server, serving

from .cluster import Cluster, two_nodes

MODELS = "mnist,mnist-2d,strokes"
REQUESTS = 200
# HAProxy on one node: two nodes of the same machine would use the same ports.
HAPROXY = ("--nodes", "1", "--variable", "RAY_SERVE_ENABLE_HA_PROXY=1", "--variable", "RAY_SERVE_ENABLE_DIRECT_INGRESS=1")
# of one process, or of one moment
OWN_HEADERS = {"date", "server", "server-timing", "transfer-encoding", "connection", "last-modified"}
OWN_ANSWERS = (b"/info", b"/metrics", b"timeout_ms")


@pytest.fixture(scope="module", params=[(), pytest.param(HAPROXY, marks=pytest.mark.soak)], ids=["proxy", "haproxy"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    options = ("--variable", f"VAE_MODELS={MODELS}", "--variable", "VAE_ACCESS_LOG=false")
    with two_nodes(*options, *request.param) as found:
        yield found


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serving("--models", MODELS) as server:
        yield server


@pytest.fixture(scope="module")
def digits() -> Pixels:
    """Real digits, (256, 28, 28)."""
    with np.load(ROOT / "tests" / "data" / "digits.npz") as arrays:
        images: Pixels = arrays["images"]
    return images


def requests(digits: Pixels) -> list[Request]:
    """Requests of all kinds with one right answer each."""
    pngs = [encoded(digit) for digit in digits[:32]]
    stroke = [[[1.0, 2.0, 0], [3.0, 1.0, 1], [0.5, 0.5, 1]]]
    more = [
        request("POST", "/encode?model=mnist-2d&format=npy", content=npy(digits[:200])),
        request("POST", "/encode?model=strokes", json={"strokes": stroke}),
        request("POST", "/complete?model=strokes&n=3&seed=4", json={"strokes": stroke}),
        request("GET", "/sample?model=strokes&n=2&seed=5"),
        request("POST", "/score", json={"images": [text(png) for png in pngs]}),
        request("POST", "/encode", json={"images": [text(png) for png in pngs] * 20}),
    ]
    found = [one for one in mixture(pngs, digits) if not any(own in one.raw for own in OWN_ANSWERS)]
    return [one for one in found if b"POST /sample" not in one.raw] + more


def answer(client: httpx.Client, one: Request) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body."""
    head, _, body = one.raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = [(name, value) for name, value in (line.split(": ", 1) for line in lines) if name.lower() != "host"]
    found = client.request(method, path, headers=[*headers, ("x-request-id", "same")], content=body)
    kept = sorted((name.lower(), value) for name, value in found.headers.multi_items() if name.lower() not in OWN_HEADERS)
    return found.status_code, kept, found.content


def test_200_requests_of_all_kinds(cluster: Cluster, plain: Server, digits: Pixels) -> None:
    statuses = set()
    with ExitStack() as stack:
        alone, *nodes = (stack.enter_context(httpx.Client(base_url=url, timeout=120)) for url in (plain.url, *cluster.urls))
        for one, node in islice(zip(cycle(requests(digits)), cycle(nodes), strict=False), REQUESTS):
            expected, found = answer(alone, one), answer(node, one)
            assert found == expected, one.raw[:200]
            statuses.add(expected[0])
    assert statuses > {200, 400, 404, 405, 413, 415, 422}


def test_a_health_check_of_each_node(cluster: Cluster) -> None:
    assert len(cluster.raylets) == len(cluster.urls)
    assert {httpx.get(f"{url}/health/ready").status_code for url in cluster.urls} == {200}
    assert len(cluster.replicas()) == 2
