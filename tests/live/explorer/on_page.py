"""What tests read from the page /explore, and what they do on it. Knows nothing of its parts."""

import base64
import io
import subprocess
from collections.abc import Callable, Sequence

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, Request

# Whether a canvas has these pixels, red, green and blue of each.
SHOWS = """([canvas, height, width, wanted]) => {
  if (canvas.height !== height || canvas.width !== width) return false;
  // Of a copy: the browser warns of a canvas that is drawn for the eye and read several times.
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const found = copy.getImageData(0, 0, width, height).data;
  const bytes = atob(wanted);
  return found.every((value, i) => value === (i % 4 === 3 ? 255 : bytes.charCodeAt(i - (i >> 2))));
}"""


def state(page: Page) -> dict[str, str]:
    """What the address says. It follows a change a little later, at the latest when the page is left."""
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    return dict(httpx.QueryParams(page.url.partition("#")[2]))


def numbers(page: Page, name: str) -> list[float]:
    """A point, or other numbers, in the address."""
    return [float(value) for value in state(page)[name].split(",")]


def pixels_of(canvas: Locator) -> NDArray[np.uint8]:
    """The pixels of a canvas, (H, W, 3). They must be opaque."""
    url = canvas.evaluate("(canvas) => canvas.toDataURL()")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def expect_pixels(canvas: Locator, wanted: NDArray[np.uint8]) -> None:
    """Wait until a canvas shows these pixels, (H, W, 3), or grey ones, (H, W)."""
    colours = wanted if wanted.ndim == 3 else wanted[..., None].repeat(3, -1)
    asked = [canvas.element_handle(), *colours.shape[:2], base64.b64encode(colours.tobytes()).decode()]
    canvas.page.wait_for_function(SHOWS, arg=asked)


def stroke(page: Page, on: Locator, points: Sequence[tuple[float, float]]) -> None:
    """Move the pressed pointer through points, given in shares of an element."""
    on.scroll_into_view_if_needed()
    box = on.bounding_box()
    assert box is not None
    first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def printed(copy: Locator, which: int = 0) -> bytes:
    """What a command prints that a part offers."""
    command = str(copy.get_attribute("data-content")).split("\n")[which]
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=60).stdout


class InFlight:
    """Requests of a page from now on: all of them, and the most that were in flight at the same time."""

    def __init__(self, page: Page, is_counted: Callable[[Request], bool]) -> None:
        self.all: list[Request] = []
        self.most = 0
        self._flying: set[Request] = set()
        self._is_counted = is_counted
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def _begin(self, request: Request) -> None:
        if self._is_counted(request):
            self.all.append(request)
            self._flying.add(request)
            self.most = max(self.most, len(self._flying))

    def _end(self, request: Request) -> None:
        self._flying.discard(request)
