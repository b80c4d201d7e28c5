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
# a replica that is only slow is left in until it was so that many times in a row: busy is not broken
PATIENCE = 3


def ask(url: str) -> bool | None:
    """Whether the replica is ready; None when it did not say in time. One that refuses to talk is not."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except TimeoutError:
        return None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def watch(url: str, mark: Path, ended: threading.Event) -> None:
    """Keep the mark of one replica true until the end, and leave none behind: without a watcher all get requests."""
    silent = 0
    while not ended.is_set():
        ready = ask(url)
        silent = silent + 1 if ready is None else 0
        if ready:
            mark.unlink(missing_ok=True)
        elif ready is False or silent >= PATIENCE:
            mark.touch()
        ended.wait(SECONDS_BETWEEN)
    mark.unlink(missing_ok=True)


def main() -> None:
    """Watch until a signal ends it; a thread for each replica, so that none waits for another."""
    directory, ended = Path(sys.argv[1]), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    watchers = []
    for replica in sys.argv[2:]:
        name, _, url = replica.partition("=")
        watchers.append(threading.Thread(target=watch, args=(url, directory / name, ended)))
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()


if __name__ == "__main__":
    main()
