"""Mutated PNGs and JPEGs of just the model's size: one answer on every way into a model, and it is Pillow's."""

import base64
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from models.preprocess import Preprocessing, preprocess
from models.readers.survey import read_picture as read_for_training
from service.formats import png
from service.formats.errors import BadInput
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from tests.service.png_files import EXIF, FILTERS, SIGNATURE, chunk, header, lines, pixels_of, plain

Pixels = NDArray[np.uint8]
MODELS = {"grey": Preprocessing(1, 8, 8), "colour": Preprocessing(3, 12, 16)}
MAX_PIXELS = 10_000  # as the application's fixture has it
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def by_pillow(data: bytes, spec: Preprocessing) -> Pixels | None:
    """Decode a file with Pillow alone. Return None if it refuses the file, or the picture is too large for these tests."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            return preprocess(image, spec)
    except Exception:
        return None


def is_large(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return image.width * image.height > MAX_PIXELS


# --- mutations


def chunks_of(data: bytes) -> list[bytes]:
    """Return the chunks of a well-formed PNG, each with its length and CRC."""
    found, place = [], len(SIGNATURE)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        found.append(data[place:end])
        place = end
    return found


def segments_of(data: bytes) -> list[bytes]:
    """Return the segments of a well-formed JPEG before its first scan, and the rest."""
    found, place = [], 2
    while data[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        found.append(data[place:end])
        place = end
    return [*found, data[place:]]


def shuffled(parts: list[bytes], chance: random.Random) -> list[bytes]:
    """A part more, a part less, or two exchanged."""
    parts = list(parts)
    match chance.randrange(3):
        case 0:
            parts.insert(chance.randrange(len(parts) + 1), chance.choice(parts))
        case 1:
            parts.pop(chance.randrange(len(parts)))
        case 2:
            a, b = chance.randrange(len(parts)), chance.randrange(len(parts))
            parts[a], parts[b] = parts[b], parts[a]
    return parts


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        spoiled[chance.randrange(len(spoiled))] = chance.choice((0, 255, chance.randrange(256)))
    return bytes(spoiled)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def longer(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.choice((1, 12, 40)))


def parts_moved(data: bytes, chance: random.Random) -> bytes:
    if data.startswith(SIGNATURE):
        return SIGNATURE + b"".join(shuffled(chunks_of(data), chance))
    return data[:2] + b"".join(shuffled(segments_of(data), chance))


def stream_changed(data: bytes, chance: random.Random) -> bytes:
    """Change the stream of a PNG: another Adler checksum, more or fewer lines, bytes after it; the CRC stays right."""
    if not data.startswith(SIGNATURE):
        return bytes_changed(data, chance)
    parts = chunks_of(data)
    place = next(i for i, part in enumerate(parts) if part[4:8] == b"IDAT")
    stream = parts[place][8:-4]
    raw = zlib.decompress(stream)
    variants: list[Callable[[], bytes]] = [
        lambda: stream[:-4] + chance.randbytes(4),
        lambda: stream[: -chance.randrange(1, 6)],
        lambda: stream + chance.randbytes(chance.randrange(1, 9)),
        lambda: zlib.compress(raw + chance.randbytes(chance.randrange(1, 300))),
        lambda: zlib.compress(raw[: -chance.randrange(1, len(raw))]),
        lambda: zlib.compress(bytes_changed(raw, chance)),
        lambda: zlib.compress(raw, 0),
        lambda: bytes_changed(stream, chance),
    ]
    changed = chance.choice(variants)()
    split = chance.randrange(len(changed) + 1) if chance.random() < 0.3 else len(changed)
    parts[place : place + 1] = [chunk(b"IDAT", piece) for piece in (changed[:split], changed[split:]) if piece or not split]
    return SIGNATURE + b"".join(parts)


def crc_changed(data: bytes, chance: random.Random) -> bytes:
    if not data.startswith(SIGNATURE):
        return bytes_changed(data, chance)
    parts = chunks_of(data)
    place = chance.randrange(len(parts))
    parts[place] = parts[place][:-4] + chance.randbytes(4)
    return SIGNATURE + b"".join(parts)


MUTATIONS = (bytes_changed, cut, longer, parts_moved, stream_changed, stream_changed, crc_changed)


def good(spec: Preprocessing) -> Iterator[bytes]:
    pixels = pixels_of(spec.channels, spec.height, spec.width)
    yield from (plain(pixels, [kind]) for kind in FILTERS)
    yield plain(pixels, tuple(FILTERS))
    yield png.write(pixels)
    extras = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"eXIf", EXIF) + chunk(b"tEXt", b"Title\0x")
    yield header(pixels) + extras + chunk(b"IDAT", zlib.compress(lines(pixels, [1, 2]))) + chunk(b"IEND")
    image = Image.fromarray(pixels if spec.channels == 3 else pixels[..., 0])
    for options in ({"quality": 90}, {"progressive": True}, {"quality": 40, "comment": b"x"}):
        out = io.BytesIO()
        image.save(out, "JPEG", **options)
        yield out.getvalue()


def mutated(spec: Preprocessing, each: int, seed: int) -> Iterator[bytes]:
    """Every good file, and so many mutations of each."""
    chance = random.Random(seed)
    for data in good(spec):
        yield data
        for _ in range(each):
            yield chance.choice(MUTATIONS)(data, chance)


# --- ways


async def alone(pipeline: Pipeline, inference: Inference, data: bytes) -> Pixels | None:
    return (await together(pipeline, inference, [data]))[0]


async def together(pipeline: Pipeline, inference: Inference, files: list[bytes]) -> list[Pixels | None]:
    """As a form has them, and `service.store load`."""
    originals: list[Pixels] = []
    try:
        await pipeline.encode(RawItems(files), inference, originals)
    except BadInput:
        return [None] * len(files)
    return list(np.concatenate(originals))


def same(found: Pixels | None, expected: Pixels | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return np.array_equal(found, expected)


async def compare(app: FastAPI, client: httpx.AsyncClient, directory: Path, each: int, seed: int) -> tuple[int, int]:
    """Check that every way of decoding gives the same result. Return how many files were read and refused."""
    pipeline: Pipeline = app.state.service.pipeline
    read = refused = 0
    for name, spec in MODELS.items():
        inference = Inference(pipeline.catalog.get(name))
        neighbour = io.BytesIO()
        Image.new("L", (90, 90)).save(neighbour, "GIF")  # which decoders decode, and its neighbours with it
        for number, data in enumerate(mutated(spec, each, seed)):
            expected = by_pillow(data, spec)
            case = f"seed {seed}, model {name}, file {number}: {data.hex()}"
            path = directory / "picture"
            path.write_bytes(data)
            trained = read_for_training(path, spec)
            if expected is not None or isinstance(trained, str) or not is_large(data):  # the trainer has no such bound
                assert same(None if isinstance(trained, str) else trained, expected), f"trainer, {case}"
            assert same(await alone(pipeline, inference, data), expected), f"alone, {case}"
            assert same((await together(pipeline, inference, [neighbour.getvalue(), data]))[1], expected), f"beside, {case}"
            read, refused = read + (expected is not None), refused + (expected is None)
            if number % 4 == 0:
                await compare_over_http(client, name, data, expected, case)
    return read, refused


async def compare_over_http(client: httpx.AsyncClient, name: str, data: bytes, expected: Pixels | None, case: str) -> None:
    gif = io.BytesIO()
    Image.new("L", (90, 90)).save(gif, "GIF")
    url, headers = f"/encode?model={name}", {"x-request-id": "same"}
    texts = [base64.b64encode(one).decode() for one in (data, gif.getvalue())]
    answers = {
        "body": await client.post(url, content=data, headers={**headers, "content-type": "image/png"}),
        "form": await client.post(url, files=[("image", ("x", data))], headers=headers),
        "form of two": await client.post(
            url, files=[("image", ("x", one)) for one in (data, gif.getvalue())], headers=headers
        ),
        "JSON": await client.post(url, json={"images": texts[:1]}, headers=headers),
        "JSON of two": await client.post(url, json={"images": texts}, headers=headers),
    }
    if expected is None:
        details = {
            # A lone body has no items.
            way: (answer.status_code, answer.json()["detail"].removeprefix("item 0: "))
            for way, answer in answers.items()
            if data
        }
        if data[:3] in (b"\x89PN", b"\xff\xd8\xff") and len(data) > 12:
            assert {status for status, _ in details.values()} <= {400, 413, 415}, case
            assert len(set(details.values())) == 1, f"{details}, {case}"
        return
    npy = io.BytesIO()
    np.save(npy, expected.transpose(1, 2, 0)[None])
    wanted = (await client.post(url, content=npy.getvalue())).json()["mu"][0]
    assert {way: answer.json()["mu"][0] for way, answer in answers.items()} == dict.fromkeys(answers, wanted), case


async def test_every_way_gives_the_answer_of_pillow(app: FastAPI, client: httpx.AsyncClient, tmp_path: Path) -> None:
    read, refused = await compare(app, client, tmp_path, each=14, seed=0)
    assert read > 60
    assert refused > 60


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 6))
async def test_so_it_is_for_thousands(app: FastAPI, client: httpx.AsyncClient, tmp_path: Path, seed: int) -> None:
    read, refused = await compare(app, client, tmp_path, each=150, seed=seed)
    assert min(read, refused) > 500


@pytest.mark.parametrize("kinds", [[0], [4], [0, 1, 2, 3, 4]])
async def test_a_wrong_checksum_of_the_stream_is_refused_alone_too(client: httpx.AsyncClient, kinds: list[int]) -> None:
    pixels = pixels_of(1, 8, 8)
    stream = zlib.compress(lines(pixels, kinds))
    for place in range(1, 5):
        spoiled = bytearray(stream)
        spoiled[-place] ^= 0x55
        data = header(pixels) + chunk(b"IDAT", bytes(spoiled)) + chunk(b"IEND")
        answer = await client.post("/encode", content=data)
        assert (answer.status_code, answer.json()["code"]) == (400, "undecodable")
