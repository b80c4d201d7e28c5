"""What only bytes of the test's own can send: headers twice, methods, bodies that never end; the error is always JSON."""

import gzip
import json
from typing import Any

import pytest

from tests.live.server import Server
from tests.live.wire import Wire

INFER = "/v2/models/mnist.encode/infer"
TEXT = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}]}
).encode()
BODY = TEXT + bytes(784)
LENGTH = ("Inference-Header-Content-Length", str(len(TEXT)))
TWICE = gzip.compress(gzip.compress(BODY))


def asked(server: Server, method: str, path: str, body: bytes = b"", *headers: tuple[str, str]) -> tuple[int, Any]:
    """Status and JSON of one request on a connection of its own."""
    stated = () if any(name == "Content-Length" for name, _ in headers) else (("Content-Length", str(len(body))),)
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in (*headers, *stated))]
    with Wire(server) as wire:
        wire.send("\r\n".join(lines).encode() + b"\r\n\r\n", body)
        status, _, answer = wire.answer()
    return status, answer


REFUSED: list[tuple[str, bytes, list[tuple[str, str]], int, str]] = [
    ("its length twice", BODY, [LENGTH, LENGTH], 400, "must be one number"),
    ("two lengths", BODY, [LENGTH, (LENGTH[0], "5")], 400, "must be one number"),
    ("two deadlines", BODY, [LENGTH, ("X-Timeout-Ms", "9000"), ("x-timeout-ms", "1")], 400, "not '9000, 1'"),
    ("two codings", TWICE, [LENGTH, ("Content-Encoding", "gzip"), ("content-encoding", "gzip")], 415, "encoded 2 times"),
    ("two codings in one", TWICE, [LENGTH, ("Content-Encoding", "gzip, gzip")], 415, "encoded 2 times"),
    ("one coding too many", TWICE, [LENGTH, ("Content-Encoding", "gzip")], 400, "compressed twice"),
    ("no coding stated", gzip.compress(BODY), [LENGTH], 400, "Content-Encoding is missing"),
    ("two sizes", BODY, [LENGTH, ("Content-Length", "9"), ("Content-Length", "8")], 400, "well-formed"),
    ("another transfer coding", b"", [("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "0")], 400, ""),
    ("a huge body", b"", [LENGTH, ("Content-Length", "99999999999999")], 413, "VAE_MAX_BODY_BYTES"),
    ("a bomb", gzip.compress(bytes(100_000_000)), [LENGTH, ("Content-Encoding", "gzip")], 413, "VAE_MAX_BODY_BYTES"),
]
# Nobody knows what these ask for.
NO_HTTP = ("two sizes", "another transfer coding")


@pytest.mark.parametrize(("body", "headers", "status", "words"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_is_refused(server: Server, body: bytes, headers: list[tuple[str, str]], status: int, words: str) -> None:
    found, answer = asked(server, "POST", INFER, body, *headers)
    assert found == status
    assert words in answer["error"]


def test_every_method_on_every_path(server: Server) -> None:
    paths = ("/v2", "/v2/health/live", "/v2/models", "/v2/models/mnist.encode", INFER, "/v2/repository/index", "/v2/nothing",
             "/v2/models//infer", "/v2/models/mnist.encode/generate", "/v2/systemsharedmemory/status",
             "/v2/cudasharedmemory/region/a/register", "/v2/logging", "/v2/trace/setting")  # fmt: skip
    for path in paths:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            status, answer = asked(server, method, path)
            assert status in (200, 400, 404, 405), (method, path)
            assert status == 200 or isinstance(answer["error"], str), (method, path)


def test_the_statistics_count_them_all(server: Server) -> None:
    def counted() -> tuple[int, int]:
        _, answer = asked(server, "GET", "/v2/models/mnist.encode/stats")
        stats = answer["model_stats"][0]["inference_stats"]
        return stats["success"]["count"], stats["fail"]["count"]

    before = counted()
    assert asked(server, "POST", INFER, BODY, LENGTH)[0] == 200
    reached = 0
    for name, body, headers, status, _ in REFUSED:
        assert asked(server, "POST", INFER, body, *headers)[0] == status
        reached += name not in NO_HTTP
    succeeded, failed = (now - then for now, then in zip(counted(), before, strict=True))
    assert (succeeded, failed) == (1, reached)
