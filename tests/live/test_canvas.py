"""examples/canvas.html in Chromium: a drawing is encoded, reconstructed and compared. Needs Chromium."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from .chromium import browsing
from .server import ROOT, serving

SEVEN = [(-60, -90), (60, -90), (20, 0), (-20, 100)]  # from the middle of the canvas
# Returns what the page shows when all five neighbours are loaded, or when it shows an error.
SHOWN = """() => {
const pictures = [...document.querySelectorAll("#nearest img")], message = document.getElementById("message").textContent;
const loaded = pictures.length == 5 && pictures.every((picture) => picture.complete) && message == "";
if (!loaded && ["", "Draw large, in the middle."].includes(message)) return null;
const both = document.getElementById("reconstruction");
return [message, document.querySelectorAll("#mu div").length, both.naturalHeight,
  pictures.map((picture) => picture.naturalWidth), pictures.map((picture) => picture.title)];
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_a_drawing_is_shown(tmp_path: Path, pngs: list[bytes]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        origin = f"http://localhost:{site.server_port}"
        # The browser comes first, so that nothing is started where there is none.
        with browsing() as browser, serving("--models", "mnist", variables={"VAE_CORS_ORIGINS": origin}) as server:
            written = (ROOT / "examples" / "canvas.html").read_text()
            (tmp_path / "canvas.html").write_text(written.replace("http://localhost:8000", server.url))
            httpx.put(f"{server.url}/collections/similar", json={"keep": "picture"}).raise_for_status()
            files = [("image", (f"{number:03}.png", png)) for number, png in enumerate(pngs)]
            httpx.post(f"{server.url}/collections/similar/items", files=files, timeout=60).raise_for_status()

            page = browser.new_page()
            page.goto(f"{origin}/canvas.html")
            box = page.locator("canvas").bounding_box()
            assert box is not None
            for number, (x, y) in enumerate(SEVEN):
                page.mouse.move(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y, steps=5)
                if number == 0:
                    page.mouse.down()
            page.mouse.up()
            message, bars, height, widths, titles = page.wait_for_function(SHOWN).json_value()
        site.shutdown()
    assert message == ""
    assert (bars, height, widths) == (20, 58, [28] * 5)
    assert "034.png" in [title.partition(",")[0] for title in titles]  # the nearest of the sevens
