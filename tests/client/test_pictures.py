"""Pictures and latents on the wire, batches, and what the package imports."""

import ast
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import vae_client
from PIL import Image
from vae_client import batches, npy, pictures

from tests.client.calling import WAYS, calling
from tests.live.pictures import Pixels, encoded, from_npy
from tests.live.server import ROOT, Server, serving

CLIENT = ROOT / "client"

WITHOUT = """
import sys

for name in ("numpy", "PIL", "tqdm"):
    sys.modules[name] = None  # An import of it fails.
import asyncio
import vae_client
from vae_client import npy

url, seven, two = sys.argv[1:]
with vae_client.Client(url) as client:
    found = client.encode_many([seven, two], batch_size=1, progress=True)
    client.put_collection("without")
    client.add_many("without", [seven, two], ids=["seven", "two"])
    client.add("without", found)
    near = client.search("without", open(seven, "rb").read(), k=1, include=["mu"])
    assert abs(near[0].mu[0] - found.mu[0][0]) < 1e-6, near[0]
    more = client.encode([seven, two], include=["kl", "z"], seed=3)
    assert (len(more.kl), len(more.z), more[1:].kl) == (2, 2, more.kl[1:])
    drawn = client.sample(2, include=["z"])
    assert client.decode(drawn.z).pixels == drawn.pixels
    pixels = client.decode(found.mu).pixels
    assert client.decode(found.mu[0]).pixels == pixels[:1]
    assert (len(pixels), len(pixels[0]), len(pixels[0][0]), len(pixels[0][0][0])) == (2, 28, 28, 1)
    assert client.interpolate(seven, found.mu[1], steps=2).pixels[1] == pixels[1]
    mean = client.barycenter(found, method="w2", details=True)
    assert (len(mean.z[0]), mean.details["mu"]) == (20, mean.z)
    assert len(client.score_many([seven, two], batch_size=1).p_value) == 2
    client.put_direction("without", "up", [seven, two], [[0.0] * 20, [1.0] * 20])
    assert len(client.edit(found.mu, {"up": 1}, collection="without")) == 2
    assert len(client.density("without", found.mu[0], bandwidth=1).ids[0]) == 4
    assert (len(client.map("without").points), len(client.density_map("without", 8).holes)) == (4, 8)

async def main():
    async with vae_client.AsyncClient(url) as client:
        return (await client.encode_many([seven, two])).sigma

assert asyncio.run(main()) == found.sigma
try:
    npy.as_pixels(None)
except TypeError as error:
    print(error)
print(found.mu[0][:2])
"""


def test_without_numpy_pillow_and_tqdm(server: Server) -> None:
    files = [str(ROOT / "examples" / name) for name in ("seven.png", "two.png")]
    command = [sys.executable, "-W", "error", "-c", WITHOUT, server.url, *files]
    done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    message, found = done.stdout.splitlines()
    assert message == "pictures as arrays need numpy: pip install 'vae-client[numpy]'"
    with vae_client.Client(server.url) as client:
        np.testing.assert_allclose(ast.literal_eval(found), client.encode(files[0]).mu[0, :2], rtol=1e-6)


def test_the_package_imports_httpx_alone() -> None:
    found = set()
    for path in (CLIENT / "vae_client").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
        assert len(path.read_text().splitlines()) <= 300
        assert ast.get_docstring(ast.parse(path.read_text()))
    others = {name.split(".")[0] for name in found} - sys.stdlib_module_names
    assert others == {"vae_client", "httpx", "numpy", "PIL", "tqdm"}


@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (200, 28, 28), (5, 9, 7, 3), (2, 0, 4)])
def test_npy_is_that_of_numpy(shape: tuple[int, ...]) -> None:
    floats = np.random.default_rng(0).normal(size=shape)
    for array in (floats.astype(np.float32), (floats * 50).astype(np.uint8), floats.astype(">f4"), np.asfortranarray(floats)):
        written = npy.array_file(array)
        np.testing.assert_array_equal(from_npy(written), array.astype(np.float32) if array.dtype.kind == "f" else array)
        assert (len(written) - array.size * from_npy(written).itemsize) % 64 == 0
        np.testing.assert_array_equal(npy.parse(written), from_npy(written))


def test_npy_of_other_things() -> None:
    out = io.BytesIO()
    np.save(out, np.zeros(3, np.int64))
    for file in (b"", b"<html>", out.getvalue(), npy.MAGIC + b"\x03\x00(1,"):
        with pytest.raises((ValueError, SyntaxError)):
            npy.parse(file)
    with pytest.raises(TypeError, match="not int64"):
        npy.as_pixels(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize("shape", [(28, 28), (5, 9, 1), (5, 9, 3)])
def test_png_is_that_of_pillow(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with Image.open(io.BytesIO(pictures.png_of(pixels))) as found:
        np.testing.assert_array_equal(np.asarray(found).reshape(shape), pixels)
    for wrong in (pixels / 255, np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises((TypeError, ValueError), match=r"rounded|channels"):
            pictures.png_of(wrong)


def test_pictures_that_do_not_fit(digits: Pixels) -> None:
    for wrong, message in (
        ([digits[0], b"file"], "picture 0 is an array and picture 1 is not"),
        ([digits[0], digits[1][:5]], "one shape"),
        ([3], "not int"),
        (digits[0, 0], r"not \(28,\)"),
        ([digits[None]], r"not \(1, 256, 28, 28\)"),
        (digits.astype(int), "not int64"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            pictures.body_of(pictures.listed(wrong))


def test_pictures_of_an_asynchronous_generator() -> None:
    async def lazy() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(TypeError, match="a plain generator"):
        pictures.listed(lazy())


def test_batches_are_bounded_in_pictures_and_bytes(tmp_path: Path) -> None:
    def sizes(content: object, size: int = 256) -> list[int]:
        return [len(batch.items) for batch in batches.split(content, size)]

    assert sizes(np.zeros((600, 28, 28), np.uint8)) == [256, 256, 88]
    assert sizes(np.zeros((5, 3000, 3000), np.uint8)) == [1] * 5
    assert sizes([bytes(7 << 20)] * 5) == [2, 2, 1]
    assert sizes([bytes(20 << 20)] * 2) == [1, 1]
    assert sizes([io.BytesIO(bytes(9 << 20)) for _ in range(3)]) == [1, 1, 1]
    (tmp_path / "large").write_bytes(bytes(9 << 20))
    assert sizes([tmp_path / "large"] * 3) == [1, 1, 1]
    assert sizes([Image.new("RGB", (2000, 2000))] * 3) == [1, 1, 1]
    wide = np.zeros((300, 4096), np.float32)
    assert sizes(vae_client.Posteriors(wide, wide)) == [93, 93, 93, 21]  # A body of JSON has at most 2^20 numbers.
    assert sizes(np.zeros((0, 28, 28), np.uint8)) == []
    with pytest.raises(ValueError, match="batch_size"):
        sizes([b""], 0)


def test_batches_that_were_refused_become_smaller() -> None:
    def batch(count: int) -> batches.Batch:
        return next(batches.split(np.zeros((count, 2, 2), np.uint8), count))

    def refusal(code: str, status: int = 413) -> vae_client.ProblemError:
        return vae_client.InvalidRequest(status, code, "because")

    sizes = batches.Sizes()
    for code, status in (("too_costly", 413), ("metadata_too_large", 413), ("too_many_items", 422)):
        assert not sizes.shrink(batch(512), refusal(code, status))
    assert not sizes.shrink(batch(1), refusal("too_many_pixels"))
    assert not sizes.shrink(batch(512), OSError())
    assert sizes.fits(batch(512))
    assert sizes.shrink(batch(400), refusal(""))  # by a proxy
    assert (sizes.fits(batch(200)), sizes.fits(batch(201))) == (True, False)
    assert sizes.shrink(batch(3), refusal("too_many_pixels"))
    assert sizes.most == batches.SMALLEST_SIZE
    assert [half.items for half in batch(3).halves()] == [range(1), range(1, 3)]


@pytest.mark.parametrize(
    ("way", "limit", "count"),
    [
        ("sync", {"VAE_MAX_PIXELS": "1000"}, 60),
        ("async", {"VAE_MAX_PIXELS": "1000"}, 60),
        ("sync", {"VAE_MAX_ROWS": "16", "VAE_MAX_BATCH": "16"}, 60),
        ("async", {"VAE_MAX_BODY_BYTES": "4096"}, 20),
    ],
)
def test_batches_that_are_too_large_are_sent_in_halves(way: str, limit: dict[str, str], count: int, digits: Pixels) -> None:
    files, ids = [encoded(digit) for digit in digits[:count]], [f"{i:02}" for i in range(count)]
    with serving(variables={"VAE_MODELS": "mnist", **limit}) as server, calling(way, server.url) as client:
        singles = [client.encode(file).mu[0] for file in files]
        np.testing.assert_allclose(client.encode_many(map(io.BytesIO, files)).mu, singles, atol=1e-5)
        client.put_collection("files")
        added = client.add_many("files", files, ids=ids, metadata=({"id": id} for id in ids))
        assert list(added.ids) == list(added.added) == ids
        assert [(item.id, item.metadata) for item in client.items("files")] == [(id, {"id": id}) for id in ids]
        if "VAE_MAX_PIXELS" in limit:
            with pytest.raises(vae_client.BatchFailed, match="item 7: 413 too_many_pixels") as caught:
                client.encode_many([*files[:7], encoded(np.resize(digits, (40, 40))), *files[8:]])
            assert (caught.value.items, caught.value.item) == (range(7, 8), 7)


@pytest.mark.parametrize("way", WAYS)
def test_an_iterable_is_read_as_it_is_sent(way: str, digits: Pixels) -> None:
    """No more than twice the concurrency is ahead of the first answer that has not come."""
    taken = 0
    ahead = []

    def lazy() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(300):
            taken += 1
            yield encoded(digits[0])

    def answer(request: httpx.Request) -> httpx.Response:
        ahead.append(taken)
        return httpx.Response(200, content=npy.array_file(np.zeros((2, 10, 3), np.float32)))

    with calling(way, "http://x", transport=httpx.MockTransport(answer)) as client:
        found = client.encode_many(lazy(), batch_size=10, concurrency=2)
    assert found.mu.shape == (300, 3)
    assert all(there <= 10 * (i + 1 + 2 * 2 + 1) + 1 for i, there in enumerate(ahead)), ahead


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_replaced_is_noticed(way: str, digits: Pixels) -> None:
    names = iter("aab")

    def answer(request: httpx.Request) -> httpx.Response:
        rows = npy.array_file(np.zeros((2, 10, 3), np.float32))
        return httpx.Response(200, content=rows, headers={"x-model": f"mnist@sha256:{next(names)}"})

    with (
        calling(way, "http://x", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(vae_client.ModelChanged, match="mnist a became mnist b"),
    ):
        client.encode_many(digits[:30], batch_size=10, concurrency=1)
