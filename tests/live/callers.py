"""Callers who ask again and again on connections that they keep, as long as a test lets them."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answered:
    """One answer. Times are of `time.monotonic`."""

    asked: float
    answered: float
    path: str
    status: int
    model: str
    connection: str
    body: bytes


@dataclass
class Calls:
    """The outcome of all requests: answers, and requests without one."""

    answers: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: int = 0  # callers who found the port closed, and left
    _first: threading.Event = field(default_factory=threading.Event)

    def wait_for_answers(self, count: int) -> None:
        """Until so many more have been answered."""
        goal = len(self.answers) + count
        while len(self.answers) < goal:
            assert not self.failures, self.failures[:3]
            self._first.wait(0.01)


@contextmanager
def calling(url: str, paths: Sequence[str], callers: int) -> Iterator[Calls]:
    """In the block so many callers ask for these paths in turn."""
    calls, enough = Calls(), threading.Event()
    address = urlsplit(url)

    def call(first: int) -> None:
        connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
        number = first
        while not enough.is_set():
            path, asked = paths[number % len(paths)], time.monotonic()
            number += 1
            try:
                connection.request("GET", path)  # makes a new connection where the last answer has said so
                answer = connection.getresponse()
                body = answer.read()
            except ConnectionRefusedError:
                calls.refused += 1
                return
            except (OSError, HTTPException) as error:
                calls.failures.append(f"{path}: {error!r}")
                connection.close()
                continue
            model, kept = answer.getheader("x-model", ""), answer.getheader("connection", "")
            calls.answers.append(Answered(asked, time.monotonic(), path, answer.status, model, kept, body))
        connection.close()

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(callers)]
    for thread in threads:
        thread.start()
    try:
        calls.wait_for_answers(callers)
        yield calls
    finally:
        enough.set()
        for thread in threads:
            thread.join(90)
