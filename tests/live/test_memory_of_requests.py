"""A request costs at most eight bytes of memory for each byte that it sends, whatever it is, with or without a key.

Linux says how much a process has held at most, and can be told to begin anew.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from .pictures import npy
from .server import Server, serving

MIB = 1 << 20
PER_BYTE, BESIDE = 8, 64 * MIB
# A byte costs up to 0.1 us (chunks of a byte, pipelines); these find what takes a hundred times as long.
SECONDS_PER_BYTE, SECONDS_BESIDE = 1e-6, 5.0
KEY = "0123456789abcdef0123"
KEYED = b"host: x\r\nx-api-key: " + KEY.encode() + b"\r\n"
# how long the sockets go on to send what is not taken
STALLED_SECONDS = 1.0

Streams = list[list[bytes]]


@pytest.fixture(scope="module")
def server(models_dir: Path) -> Iterator[Server]:
    keys = {"VAE_API_KEYS": f"app infer,store {KEY}", "VAE_ACCESS_LOG": "false"}
    with serving("--models-dir", str(models_dir), "--models", "mnist", variables=keys, anew=True) as running:
        httpx.put(f"{running.url}/collections/c", headers={"x-api-key": KEY}, json={"model": "mnist"}).raise_for_status()
        yield running


def posted(path: str, body: bytes, kind: str = "application/json") -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    return [head.encode() + KEYED + b"\r\n", body]


def many(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


CHUNKED = b"POST /encode HTTP/1.1\r\n" + KEYED + b"transfer-encoding: chunked\r\n\r\n"
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\ncontent-disposition: form-data; name="image"\r\n\r\n'


def json_of(path: str, before: str, piece: str, after: str, megabytes: int = 16) -> Streams:
    return [posted(path, (before + piece * (megabytes * MIB // len(piece)) + after).encode())] * 2


def names(count: int, spaces: int) -> bytes:
    return json.dumps({f"k{i}": 0 for i in range(count)}).replace(",", "," + " " * spaces).encode()


KINDS: dict[str, Callable[[], Streams]] = {
    "heads": lambda: [[b"GET / HTTP/1.1\r\n" + many(b"a:b\r\n", 120_000)] for _ in range(300)],
    "heads just allowed": lambda: [[b"GET / HTTP/1.1\r\nhost:x\r\n" + b"a:\r\n" * 98] for _ in range(900)],
    "one long header": lambda: [[b"GET / HTTP/1.1\r\na: " + b"x" * 130_000] for _ in range(100)],
    "trailers": lambda: [[CHUNKED + b"1\r\na\r\n0\r\n", *[many(b"a: b\r\n", MIB)] * 8] for _ in range(4)],
    "one long trailer": lambda: [[CHUNKED + b"1\r\na\r\n0\r\na: ", *[b"x" * MIB] * 8] for _ in range(4)],
    "chunks of a byte": lambda: [[CHUNKED, *[many(b"1\r\na\r\n", MIB)] * 8] for _ in range(4)],
    "long extensions": lambda: [[CHUNKED, *[b"1;" + b"x" * 200_000 + b"\r\na\r\n"] * 40] for _ in range(4)],
    "pipelines without a key": lambda: [[many(b"GET /x HTTP/1.1\r\nhost:x\r\n\r\n", MIB)] * 8 for _ in range(20)],
    "pipelines": lambda: [[many(b"GET /sample?n=1 HTTP/1.1\r\n" + KEYED + b"\r\n", MIB)] * 8 for _ in range(20)],
    "empty lines": lambda: [[many(b"\r\n", MIB)] * 8 for _ in range(4)],
    "JSON of lists": lambda: json_of("/encode", '{"images":[', "[],", "[]]}"),
    "JSON of objects": lambda: json_of("/decode", '{"z":[', "{},", "{}]}"),
    "JSON of nested lists": lambda: json_of("/decode", "[" * 1000 + '{"z":[[', "[[]],", "1]]}"),
    "JSON of numbers": lambda: json_of("/decode", '{"z":[[', "1e1,", "1]]}"),
    "JSON of whole numbers": lambda: json_of("/decode", '{"z":[[', "999,", "1]]}"),
    "JSON of texts": lambda: json_of("/encode", '{"images":[', '"ab",', '""]}'),
    "JSON of one text": lambda: json_of("/encode", '{"images":["', "é", '"]}', 15),
    "JSON of as many numbers as may be": lambda: json_of("/decode", '{"z":[[', "1e1,", "1]]}", 4),
    "JSON of as many texts as may be": lambda: json_of("/decode", '{"z":[[', '"ab",' + " " * 10, "1]]}", 5),
    "JSON of names": lambda: [posted("/sample", names(200_000, 0))] * 2,
    "JSON of as many names as may be": lambda: [posted("/sample", names(300_000, 20))] * 2,
    "JSON of spaces": lambda: json_of("/encode", '{"images":[', " ", '""]}'),
    "items": lambda: json_of("/collections/c/items", '{"items":[', '{"mu":[1,2]},', "{}]}"),
    "metadata": lambda: json_of("/collections/c/items", '{"items":[{"mu":[],"metadata":{"a":[', "[1],", "1]}}]}"),
    "queries": lambda: json_of("/collections/c/search", '{"queries":[', '{"id":"a"},', '{"id":"a"}]}'),
    "filters": lambda: json_of("/collections/c/search", '{"id":"a","filter":{"a":{"in":[', "1.5,", "1]}}}"),
    "forms of small parts": lambda: [posted("/encode", many(PART + b"x\r\n", 16 * MIB) + b"--b--", FORM) for _ in range(2)],
    "forms of one part": lambda: [posted("/encode", PART + b"x" * 16 * MIB + b"\r\n--b--", FORM) for _ in range(2)],
    "forms of line ends": lambda: [posted("/encode", PART + many(b"\r\n", 16 * MIB) + b"\r\n--b--", FORM) for _ in range(2)],
    "forms of a latent": lambda: [
        posted("/interpolate", PART.replace(b"image", b"end") + many(b"1e1,", 16 * MIB) + b"\r\n--b--", FORM) for _ in range(2)
    ],
    "forms of a filter": lambda: [
        posted("/collections/c/search", PART.replace(b"image", b"filter") + many(b"[1],", 16 * MIB) + b"\r\n--b--", FORM)
        for _ in range(2)
    ],
    "npy pictures": lambda: [posted("/encode", npy(np.zeros((4000, 28, 28), np.float32)), "application/x-npy")] * 3,
    "npy latents": lambda: [posted("/decode", npy(np.zeros((500, 20), np.float64)), "application/x-npy")] * 3,
    "npy of many": lambda: [posted("/decode", npy(np.zeros((10**6, 2), np.int64)), "application/x-npy")] * 3,
}


class Memory:
    """The memory of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")

    def _status(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._directory / "status").read_text())
        assert found
        return 1024 * int(found[1])

    def begin(self) -> int:
        """Return the memory in use, and start to measure the peak anew."""
        (self._directory / "clear_refs").write_text("5")
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most that it has held since."""
        return self._status("VmHWM")


def processor_seconds(server: Server) -> float:
    """Time that the service has computed, all its threads together."""
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


def flood(server: Server, streams: Streams) -> int:
    """Send all streams at once, each as far as it is taken; nothing is read. How many bytes were sent."""
    host, port = server.url.removeprefix("http://").split(":")
    sent, open_ = 0, []
    for pieces in streams:
        one = socket.create_connection((host, int(port)), timeout=60)
        one.settimeout(STALLED_SECONDS / len(streams))
        open_.append((one, list(pieces)))
    live = list(open_)
    while live:
        for entry in list(live):
            one, pieces = entry
            try:
                count = one.send(pieces[0])
            except OSError:  # not taken, or cut off
                live.remove(entry)
                continue
            sent += count
            pieces[0] = pieces[0][count:]
            if not pieces[0]:
                pieces.pop(0)
            if not pieces:
                live.remove(entry)
    for one, pieces in open_:
        one.settimeout(60)
        if not pieces:  # all of it was taken: the answer, if there is one, shows that it has been worked on
            with suppress(OSError):
                one.shutdown(socket.SHUT_WR)
                while one.recv(MIB):
                    pass
        one.close()
    return sent


@pytest.mark.parametrize("kind", list(KINDS))
def test_at_most_eight_bytes_for_each_byte(server: Server, kind: str) -> None:
    streams = KINDS[kind]()
    memory = Memory(server.process.pid)
    before, spent = memory.begin(), processor_seconds(server)
    sent = flood(server, streams)
    grown, spent = memory.peak() - before, processor_seconds(server) - spent
    print(f"{kind}: {sent / MIB:.1f} MiB sent, {grown / MIB:.1f} MiB more held at most, {1e9 * spent / sent:.0f} ns a byte")  # noqa: T201
    assert sent > 10_000
    assert grown <= PER_BYTE * sent + BESIDE, f"{grown / MIB:.0f} MiB for {sent / MIB:.1f} MiB"
    assert spent <= SECONDS_PER_BYTE * sent + SECONDS_BESIDE, f"{spent:.2f} s for {sent / MIB:.1f} MiB"
    assert httpx.get(f"{server.url}/health/live", timeout=60).status_code == 200
