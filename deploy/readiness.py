"""Which replicas are not ready, as files for nginx: DIRECTORY/NAME is there as long as NAME must not get requests.

    python readiness.py DIRECTORY NAME=URL...

Standard library only. Knows nothing of nginx but these files, and of the service but /health/ready.
"""

import http.client
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

SECONDS_BETWEEN = 0.5
TIMEOUT_SECONDS = 2.0
# how often in a row a replica may fail to answer in time: busy is not broken
PATIENCE = 3
READY, UNREADY, SILENT = "ready", "unready", "silent"


def ask(url: str) -> str:
    """What a replica says; one that refuses to talk is not ready, one that does not answer in time is silent."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return READY if connection.getresponse().status == 200 else UNREADY
    except TimeoutError:
        return SILENT
    except (OSError, http.client.HTTPException):
        return UNREADY
    finally:
        connection.close()


class Marks:
    """The files. Without a watcher there are none, and all replicas get requests."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._states = dict.fromkeys(names, UNREADY)
        self._settle()

    def report(self, name: str, state: str) -> None:
        """What is known now of a replica."""
        with self._lock:
            self._states[name] = state
            self._settle()

    def clear(self) -> None:
        """Take all away."""
        for name in self._states:
            (self._directory / name).unlink(missing_ok=True)

    def _settle(self) -> None:
        """A silent replica may be overloaded: it is left out only where another one is ready."""
        spare = READY in self._states.values()
        for name, state in self._states.items():
            if state == UNREADY or (state == SILENT and spare):
                (self._directory / name).touch()
            else:
                (self._directory / name).unlink(missing_ok=True)


def watch(name: str, url: str, marks: Marks, ended: threading.Event) -> None:
    """Report one replica until the end."""
    silences = 0
    while not ended.is_set():
        state = ask(url)
        silences = silences + 1 if state == SILENT else 0
        if state != SILENT or silences >= PATIENCE:
            marks.report(name, state)
        ended.wait(SECONDS_BETWEEN)


def main() -> None:
    """Watch until a signal ends it; a thread for each replica, so that none waits for another."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    replicas = dict(replica.split("=", 1) for replica in sys.argv[2:])
    marks = Marks(Path(sys.argv[1]), list(replicas))
    watchers = [threading.Thread(target=watch, args=(name, url, marks, ended)) for name, url in replicas.items()]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    marks.clear()


if __name__ == "__main__":
    main()
