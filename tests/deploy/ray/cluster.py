"""The example with two nodes of Ray as a subprocess, and callers who keep it busy. Knows nothing of what is checked."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import psutil

from tests.live.server import PATIENCE_SECONDS, ROOT, environment

REPLICA = "ray::ServeReplica:vae:vae"
COLLECTION = "written"
# Two nodes with a replica each share the cores of one machine with other tests: two minutes on a slow one.
START_SECONDS = 300.0


class Cluster:
    """A running example. `urls`: the address of each node's proxy; `raylets`: the process of each node."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.ray.two_nodes", *options],
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self.urls: list[str] = []
        self.raylets: list[int] = []
        self._ready = threading.Event()  # set when it is ready, and when its output has ended
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("raylets "):
                self.raylets = [int(one) for one in line.split()[1:]]
            if line.startswith("Running on "):
                self.urls = line.split()[2:]
                self._ready.set()
        self._ready.set()

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return "\n".join(self.lines)

    def wait_until_ready(self) -> None:
        """Until all nodes answer."""
        assert self._ready.wait(START_SECONDS), f"no address in the output:\n{self.log}"
        assert self.urls, f"the example ended:\n{self.log}"

    def replicas(self) -> list[psutil.Process]:
        """The processes of the replicas that run now."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "".join(process.cmdline()[:1]).startswith(REPLICA):  # with the name of the method that it runs
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def end(self) -> int:
        """Send SIGTERM, and return the status once it has ended. Nothing of it is left."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            _, left = psutil.wait_procs(family, 10)
            for process in left:
                process.kill()
        self._reader.join(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextmanager
def two_nodes(*options: str) -> Iterator[Cluster]:
    """A cluster of two nodes that is ready; after the block it must end on SIGTERM with status 0."""
    cluster = Cluster(*options)
    ended = False
    try:
        cluster.wait_until_ready()
        yield cluster
        ended = True
        assert cluster.end() == 0, cluster.log
    finally:
        if not ended:
            cluster.end()


@dataclass
class Load:
    """Callers who send one request after the other: a write, a picture to encode, a write, ..."""

    url: str
    picture: bytes
    acknowledged: set[str] = field(default_factory=set)
    answers: int = 0
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def by(self, callers: int) -> Iterator[None]:
        """In the block so many callers are at work."""
        end = threading.Event()
        threads = [threading.Thread(target=self._call, args=(end,)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            end.set()
            for thread in threads:
                thread.join()

    def _call(self, end: threading.Event) -> None:
        caller = uuid4().hex
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client:
            number = 0
            while not end.is_set():
                number += 1
                self._write(client, f"{caller}-{number}")
                self._ask(client.build_request("POST", "/encode", content=self.picture), client)

    def _write(self, client: httpx.Client, name: str) -> None:
        item = {"id": name, "mu": [0.0] * 20, "sigma": [1.0] * 20}
        if self._ask(client.build_request("POST", f"/collections/{COLLECTION}/items", json={"items": [item]}), client):
            with self._lock:
                self.acknowledged.add(name)

    def _ask(self, request: httpx.Request, client: httpx.Client) -> bool:
        try:
            status = client.send(request).status_code
        except httpx.TransportError as error:
            status = 0
            fault = f"{request.url.path}: {error!r}"
        else:
            fault = f"{request.url.path}: {status}"
        with self._lock:
            if status == 200:
                self.answers += 1
            else:
                self.faults.append(fault)
        return status == 200
