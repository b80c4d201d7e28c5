"""examples/canvas.html in Chromium: a drawing is encoded, reconstructed and compared. Needs chromium and chromium-driver."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from .browser import MISSING, browsing
from .server import ROOT, serving

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
SEVEN = [(-60, -90), (60, -90), (20, 0), (-20, 100)]  # from the middle of the canvas
# Returns what the page shows when all five neighbours are loaded, or when it shows an error.
SHOWN = """
const pictures = [...document.querySelectorAll("#nearest img")], message = document.getElementById("message").textContent;
const loaded = pictures.length == 5 && pictures.every((picture) => picture.complete) && message == "";
if (!loaded && ["", "Draw large, in the middle."].includes(message)) return null;
const both = document.getElementById("reconstruction");
return [message, document.querySelectorAll("#mu div").length, both.naturalHeight,
  pictures.map((picture) => picture.naturalWidth), pictures.map((picture) => picture.title)];
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_a_drawing_is_shown(tmp_path: Path, pngs: list[bytes]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        origin = f"http://localhost:{site.server_port}"
        with serving(variables={"VAE_CORS_ORIGINS": origin}) as server, browsing(tmp_path / "browser") as browser:
            page = (ROOT / "examples" / "canvas.html").read_text()
            (tmp_path / "canvas.html").write_text(page.replace("http://localhost:8000", server.url))
            httpx.put(f"{server.url}/collections/similar", json={"keep": "picture"}).raise_for_status()
            files = [("image", (f"{number:03}.png", png)) for number, png in enumerate(pngs)]
            httpx.post(f"{server.url}/collections/similar/items", files=files, timeout=60).raise_for_status()

            browser.open(f"{origin}/canvas.html")
            browser.draw(browser.run("return document.querySelector('canvas')"), SEVEN)
            message, bars, height, widths, titles = browser.wait(SHOWN)
        site.shutdown()
    assert message == ""
    assert (bars, height, widths) == (20, 58, [28] * 5)
    assert "034.png" in [title.partition(",")[0] for title in titles]  # the nearest of the sevens
