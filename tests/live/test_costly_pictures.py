"""Pictures that cost much to decode: nobody else waits, deadlines hold, so does the end of the service, memory is bounded."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from .costly_pictures import deep, flat_png, noisy, saved, scans, ztxt
from .problems import problem
from .server import Server

BUDGET, BEYOND = 256 << 20, 64 << 20
# far more than anything takes here; only a defect gets there
PATIENCE = 120.0


def decoders(server: Server) -> list[psutil.Process]:
    """Those that decode: what they are forked from is their parent."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in family if process.ppid() != server.process.pid]


def wait_for(condition: Callable[[], bool], case: Callable[[], object] = lambda: "") -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, case()
        time.sleep(0.01)


@contextmanager
def standing_still(server: Server, parent: bool = True) -> Iterator[None]:
    """In the block no decoder goes on, as if each had a picture that takes for ever. With `parent`, none is started either."""
    wait_for(lambda: len(decoders(server)) >= 3)
    stopped = [psutil.Process(pid) for pid in {process.ppid() for process in decoders(server)}] if parent else []
    for process in stopped:
        process.suspend()
        wait_for(lambda process=process: process.status() == psutil.STATUS_STOPPED)  # type: ignore[misc]
    for process in decoders(server):
        with suppress(psutil.NoSuchProcess):
            process.suspend()
        stopped.append(process)
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


COSTLY = {
    "texts that inflate": ztxt(28, 28, 60),
    "16 bits": deep(1500, 1500),
    "many scans": scans(200, 200, 100)[0],
    "WebP": noisy(1000, 1000, "WEBP"),
    "GIF": noisy(28, 28, "GIF"),
    "TIFF": noisy(28, 28, "TIFF"),
    "BMP": noisy(28, 28, "BMP"),
    "a large JPEG": noisy(2000, 2000, "JPEG"),
}


def padded(data: bytes) -> bytes:
    """Return a picture file with a megabyte behind it. The decoder of a small one is killed after a second and replaced."""
    return data + bytes(1 << 20)


@pytest.mark.parametrize("name", COSTLY)
def test_others_are_answered_while_it_is_decoded(server: Server, client: httpx.Client, pngs: list[bytes], name: str) -> None:
    """None of it happens on the event loop: with the decoders stopped, everything else goes on."""
    costly = padded(COSTLY[name])
    with ThreadPoolExecutor(1) as pool:
        with standing_still(server):
            waiting = pool.submit(httpx.post, f"{server.url}/encode", content=costly, timeout=PATIENCE)
            for png in pngs[:20]:
                client.get("/health/live").raise_for_status()
                client.post("/encode", content=png).raise_for_status()
            late = client.post("/encode?timeout_ms=200", content=costly)
            problem(late, 504, "deadline_exceeded")
            late = client.post("/encode?timeout_ms=200", files=[("image", ("x", one)) for one in (pngs[0], costly)])
            problem(late, 504, "deadline_exceeded")
            assert not waiting.done()
        assert waiting.result().status_code == 200


def test_small_pictures_do_not_wait_for_large_ones(server: Server, client: httpx.Client) -> None:
    large, small = noisy(3000, 3000, "TIFF"), noisy(300, 300, "JPEG")
    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(httpx.post, f"{server.url}/encode", content=large, timeout=PATIENCE)
        for _ in range(5):
            assert client.post("/encode", content=small).status_code == 200


def test_work_without_end_is_refused_by_the_headers(client: httpx.Client) -> None:
    for data, reason in (
        (scans(7000, 7000, 200)[0], "fewer scans"),
        (saved("RGB", 7000, 7000, "WEBP", method=0), "VAE_MAX_DECODED_BYTES"),
        (flat_png(50_000_000, 1, 8, 0, 1), "VAE_MAX_DECODED_BYTES"),
    ):
        problem(client.post("/encode", content=data), 413, "too_costly", reason)


def sizes(server: Server) -> dict[int, int]:
    """Resident bytes of each process; what they share counts for each."""
    family = [server.process.pid, *(p.pid for p in psutil.Process(server.process.pid).children(recursive=True))]
    found = {}
    for pid in family:
        with suppress(psutil.NoSuchProcess):
            found[pid] = psutil.Process(pid).memory_info().rss
    return found


def resident(server: Server) -> int:
    """Resident bytes of all processes together."""
    return sum(sizes(server).values())


@contextmanager
def peak_of(server: Server) -> Iterator[list[int]]:
    """The most that was resident in the block, as often as one can look."""
    most, ended = [resident(server)], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            most[0] = max(most[0], resident(server))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        ended.set()
        watching.join()


def post_all(server: Server, bodies: list[bytes]) -> list[int]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = pool.map(lambda body: httpx.post(f"{server.url}/encode", content=body, timeout=120), bodies)
        return [answer.status_code for answer in answers]


def test_decoded_pictures_stay_within_their_memory(server: Server) -> None:
    """Large ones of a few kilobytes, all at once."""
    bodies = [deep(5000, 5000), flat_png(4000, 4000, 8, 6, 4), saved("RGB", 3000, 3000, "WEBP", method=0)]
    wait_for(lambda: len(decoders(server)) >= 3)
    before = resident(server)
    with peak_of(server) as most:
        assert post_all(server, bodies * 2) == [200] * 6
    assert most[0] - before <= BUDGET + BEYOND
    wait_for(lambda: resident(server) - before <= BEYOND)  # and it is given back


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 6])
def test_pictures_of_every_format_stay_within_their_memory(server: Server, count: int) -> None:
    side = 7000
    strip = {"compression": "tiff_adobe_deflate", "strip_size": 1 << 30}
    cases: dict[str, tuple[Callable[[], bytes], int]] = {
        "16-bit grey": (lambda: deep(side, side), 200),
        "RGBA": (lambda: flat_png(side, side, 8, 6, 4), 200),
        "RGB": (lambda: flat_png(side, side, 8, 2, 3), 200),
        "palette": (lambda: saved("P", side, side, "PNG"), 200),
        "transparent palette": (lambda: saved("P", side, side, "PNG", transparency=0), 200),
        "one bit": (lambda: saved("1", side, side, "PNG"), 200),
        "JPEG": (lambda: noisy(side, side, "JPEG", quality=30), 200),
        "progressive JPEG": (lambda: noisy(side, side, "JPEG", quality=30, progressive=True), 200),
        "progressive JPEG, 4:4:4": (lambda: noisy(5000, 5000, "JPEG", quality=30, progressive=True, subsampling=0), 200),
        "progressive JPEG beyond": (lambda: noisy(side, side, "JPEG", quality=30, progressive=True, subsampling=0), 413),
        "CMYK": (lambda: saved("CMYK", side, side, "JPEG"), 200),
        "WebP of 50 megapixels": (lambda: saved("RGB", side, side, "WEBP", method=0), 413),
        "WebP of 11 megapixels": (lambda: noisy(3300, 3300, "WEBP", method=0, quality=30), 200),
        "lossless WebP": (lambda: noisy(3300, 3300, "WEBP", method=0, lossless=True), 200),
        "GIF": (lambda: noisy(side, side, "GIF"), 200),
        "BMP": (lambda: saved("L", 3000, 3000, "BMP"), 200),
        "TIFF": (lambda: saved("RGB", 2000, 2000, "TIFF"), 200),
        "TIFF, LZW": (lambda: saved("RGB", side, side, "TIFF", compression="tiff_lzw"), 200),
        "TIFF in one strip": (lambda: saved("RGB", 5000, 5000, "TIFF", **strip), 200),
        "TIFF in one strip, beyond": (lambda: saved("RGB", side, side, "TIFF", **strip), 413),
        "TIFF of floats": (lambda: saved("F", 5000, 5000, "TIFF", compression="tiff_lzw"), 200),
        "CMYK TIFF": (lambda: saved("CMYK", 4000, 4000, "TIFF", compression="tiff_lzw"), 200),
    }
    wait_for(lambda: len(decoders(server)) >= 3)
    bodies = {name: make() for name, (make, _) in cases.items()}
    before = resident(server)
    for name, body in bodies.items():
        with peak_of(server) as most:
            assert set(post_all(server, [body] * count)) == {cases[name][1]}, name
        assert most[0] - before <= BUDGET + BEYOND + 4 * count * len(body), name
        wait_for(lambda: resident(server) - before <= BEYOND, lambda: (name, before, sizes(server)))  # noqa: B023
    with peak_of(server) as most:
        post_all(server, [body for body in bodies.values() if len(body) < 4 << 20] * (count // 2))
    assert most[0] - before <= BUDGET + 2 * BEYOND


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_does_not_wait_for_a_decoder_and_leaves_none(number: signal.Signals) -> None:
    """A request is on its way whose decoder stands still, for longer than anybody waits here.

    After SIGKILL nobody is there to end the decoders.
    """
    server = Server("--models", "mnist", "--shutdown-seconds", "1", "--decode-seconds", "600")
    try:
        server.wait_until_ready()
        wait_for(lambda: len(decoders(server)) >= 3)
        family = psutil.Process(server.process.pid).children(recursive=True)
        with ThreadPoolExecutor(1) as pool, standing_still(server, parent=False):
            waiting = pool.submit(httpx.post, f"{server.url}/encode", content=padded(COSTLY["16 bits"]), timeout=PATIENCE)
            time.sleep(0.1)
            server.process.send_signal(number)
            status = server.process.wait(PATIENCE)
            assert status == (0 if number == signal.SIGTERM else -number)
            with suppress(httpx.TransportError):
                problem(waiting.result(), 503, "draining")
        _, alive = psutil.wait_procs(family, PATIENCE)
        assert alive == []
        assert "Traceback" not in server.log
    finally:
        server.kill()
