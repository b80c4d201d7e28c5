"""A browser without a window, driven through chromedriver by the WebDriver protocol. Knows nothing of what the pages show."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = "" if CHROMIUM and CHROMEDRIVER else "no browser: apt-get install chromium chromium-driver"
STARTED = re.compile(r"started successfully on port (\d+)")
# far more than a page takes; only a defect gets there
PATIENCE_SECONDS = 60.0
# The key under which the protocol names an element.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
Options = dict[str, Any]


class Browser:
    """One window of a browser. Elements are found by CSS selectors and scripts; a selector must match something soon."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._session = client, session

    def _send(self, method: str, path: str, body: Options | None = None) -> Any:
        answer = self._client.request(method, f"/session/{self._session}{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Load a page."""
        self._send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns; `arguments` are its arguments."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns as soon as that is true."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < give_up, f"it has not come to that: {script}"
            time.sleep(0.05)
        return found

    def choose_file(self, element: Options, path: Path) -> None:
        """Choose a file with the file button of a form."""
        self._send("POST", f"/element/{element[ELEMENT]}/value", {"text": str(path)})

    def draw(self, element: Options, line: Sequence[tuple[int, int]]) -> None:
        """Draw a line with the mouse through points (x, y), measured from the middle of an element."""
        moves = [{"type": "pointerMove", "x": x, "y": y, "origin": element, "duration": 50} for x, y in line]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._send("POST", "/actions", {"actions": [{"type": "pointer", "id": "pen", "actions": steps}]})

    def screenshot(self) -> str:
        """Return what the window shows, as base64 PNG."""
        return str(self._send("GET", "/screenshot"))


@contextmanager
def browsing(directory: Path) -> Iterator[Browser]:
    """Start a browser whose files lie in a directory, and end it."""
    assert CHROMIUM is not None
    assert CHROMEDRIVER is not None
    driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := STARTED.search(line)))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,2000"]
        wanted = {"binary": CHROMIUM, "args": [*options, f"--user-data-dir={directory / 'profile'}"]}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            capabilities = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": wanted}}}
            answer = client.post("/session", json=capabilities)
            assert answer.status_code == 200, answer.text
            session = answer.json()["value"]["sessionId"]
            try:
                yield Browser(client, session)
            finally:
                client.delete(f"/session/{session}")
    finally:
        driver.terminate()
        driver.communicate()
