"""examples/canvas.html in Chromium: a drawing is encoded, reconstructed and compared. Needs chromium and chromium-driver."""

import functools
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from .server import ROOT, serving

pytestmark = pytest.mark.skipif(not (shutil.which("chromedriver") and shutil.which("chromium")), reason="no Chromium")
OPTIONS = {"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SEVEN = [(-60, -90), (60, -90), (20, 0), (-20, 100)]  # from the middle of the canvas
# Resolves when all five neighbours are loaded, or the page shows an error.
SHOWN = """
const done = arguments[0], fine = ["", "Draw large, in the middle."];
const look = () => {
  const pictures = [...document.querySelectorAll("#nearest img")], message = document.getElementById("message").textContent;
  const loaded = pictures.length == 5 && pictures.every((picture) => picture.complete) && message == "";
  if (!loaded && fine.includes(message)) return requestAnimationFrame(look);
  const both = document.getElementById("reconstruction");
  done([message, document.querySelectorAll("#mu div").length, both.naturalHeight,
    pictures.map((picture) => picture.naturalWidth), pictures.map((picture) => picture.title)]);
};
look();
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def terminated(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process after the block."""
    try:
        yield
    finally:
        process.terminate()


@contextmanager
def browser() -> Iterator[httpx.Client]:
    """Yield a client of a WebDriver session."""
    command = ["chromedriver", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver, terminated(driver):
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": OPTIONS}}}
        started = httpx.post(f"http://127.0.0.1:{port}/session", json=wanted, timeout=120).raise_for_status().json()
        session = f"http://127.0.0.1:{port}/session/{started['value']['sessionId']}/"
        with httpx.Client(base_url=session, timeout=120) as client:
            yield client
            client.delete(session)


def draw(client: httpx.Client, canvas: dict[str, str]) -> None:
    """Draw a seven with the mouse."""
    first, *others = [{"type": "pointerMove", "x": x, "y": y, "origin": canvas, "duration": 50} for x, y in SEVEN]
    steps = [first, {"type": "pointerDown", "button": 0}, *others, {"type": "pointerUp", "button": 0}]
    client.post("actions", json={"actions": [{"type": "pointer", "id": "pen", "actions": steps}]}).raise_for_status()


def test_a_drawing_is_shown(tmp_path: Path, pngs: list[bytes]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        origin = f"http://localhost:{site.server_port}"
        with serving(variables={"VAE_CORS_ORIGINS": origin}) as server, browser() as client:
            page = (ROOT / "examples" / "canvas.html").read_text()
            (tmp_path / "canvas.html").write_text(page.replace("http://localhost:8000", server.url))
            httpx.put(f"{server.url}/collections/similar", json={"keep": "picture"}).raise_for_status()
            files = [("image", (f"{number:03}.png", png)) for number, png in enumerate(pngs)]
            httpx.post(f"{server.url}/collections/similar/items", files=files, timeout=60).raise_for_status()

            client.post("url", json={"url": f"{origin}/canvas.html"}).raise_for_status()
            found = client.post("element", json={"using": "css selector", "value": "canvas"}).raise_for_status().json()
            draw(client, {ELEMENT: found["value"][ELEMENT]})
            answer = client.post("execute/async", json={"script": SHOWN, "args": []}).raise_for_status().json()["value"]
        site.shutdown()
    message, bars, height, widths, titles = answer
    assert message == ""
    assert (bars, height, widths) == (20, 58, [28] * 5)
    assert "034.png" in [title.partition(",")[0] for title in titles]  # the nearest of the sevens
