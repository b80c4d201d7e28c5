"""The short way of plain PNGs changes no answer: with it and without it, /encode says the same of good and broken files."""

import base64
import random
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from service.formats import png
from tests.service.png_files import EXIF, FILTERS, OTHERS, Pixels, chunk, header, lines, pixels_of, plain

CORRUPTIONS = 12  # of each good file

Outcome = tuple[int, bytes]


def good(pixels: Pixels) -> Iterator[bytes]:
    """Plain files, and some that are not."""
    data = zlib.compress(lines(pixels, tuple(FILTERS)))
    yield from (plain(pixels, [kind]) for kind in FILTERS)
    yield plain(pixels, level=0)
    yield png.write(pixels)
    yield header(pixels) + chunk(b"IDAT", data) + chunk(b"eXIf", EXIF) + chunk(b"IEND")
    yield header(pixels) + chunk(b"IDAT", data[:20]) + chunk(b"IDAT", data[20:]) + chunk(b"IEND")
    yield header(pixels) + chunk(b"IDAT", data, crc=0) + chunk(b"IEND")


def corrupted(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The same file cut short, and with bytes replaced."""
    for number in range(CORRUPTIONS):
        if number % 4 == 0:
            yield data[: chance.randrange(1, len(data))]
            continue
        spoiled = bytearray(data)
        for _ in range(chance.choice((1, 1, 3))):
            spoiled[chance.randrange(len(spoiled))] = chance.choice((0, 255, chance.randrange(256)))
        yield bytes(spoiled)


def corpus() -> list[bytes]:
    """Pictures of the size of both models, grey and coloured."""
    chance, files = random.Random(0), list(OTHERS.values())
    for shape in ((1, 8, 8), (3, 12, 16), (3, 8, 8)):
        for data in good(pixels_of(*shape)):
            files += [data, *corrupted(data, chance)]
    return files


async def outcomes(client: httpx.AsyncClient, files: list[bytes]) -> list[Outcome]:
    """Return the outcomes of each file as a body, in a form between others, and as base64 in JSON, with both models."""
    found: list[Outcome] = []
    beside = {"grey": plain(pixels_of(1, 8, 8)), "colour": plain(pixels_of(3, 12, 16))}
    for data in files:
        for model, other in beside.items():
            texts = [base64.b64encode(one).decode() for one in (other, data)]
            answers = [
                await client.post(f"/encode?model={model}", content=data, headers={"x-request-id": "same"}),
                await client.post(
                    f"/encode?model={model}",
                    files=[("image", ("x", one)) for one in (other, data, other)],
                    headers={"x-request-id": "same"},
                ),
                await client.post(f"/encode?model={model}", json={"images": texts}, headers={"x-request-id": "same"}),
                await client.post(
                    f"/reconstruct?model={model}&compare=true&format=png", content=data, headers={"x-request-id": "same"}
                ),
            ]
            found += [(answer.status_code, answer.content) for answer in answers]
    return found


async def test_answers_are_the_same_without_the_short_way(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    files = corpus()
    read, plainly = png.read_plain, [0]

    def counting(data: bytes, channels: int, height: int, width: int) -> Pixels | None:
        pixels = read(data, channels, height, width)
        plainly[0] += pixels is not None
        return pixels

    monkeypatch.setattr(png, "read_plain", counting)
    with_it = await outcomes(client, files)
    assert plainly[0] > 500
    monkeypatch.setattr(png, "read_plain", lambda *_: None)
    without = await outcomes(client, files)
    assert [number for number, pair in enumerate(zip(with_it, without, strict=True)) if pair[0] != pair[1]] == []
    statuses = [status for status, _ in with_it]
    assert set(statuses) <= {200, 400, 413, 415}
    assert min(statuses.count(200), statuses.count(400)) > 200


async def test_the_bound_on_pixels_holds_on_the_short_way(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's own pictures may be more than is allowed: then it is so on both ways."""
    monkeypatch.setattr(client._transport.app.state.service.pipeline, "max_pixels", 63)  # type: ignore[attr-defined]
    answer = await client.post("/encode", content=plain(pixels_of(1, 8, 8)))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_pixels")


async def test_many_plain_pictures_beside_one_that_is_not(client: httpx.AsyncClient) -> None:
    """Wherever it is, in slices of plain ones and of others, each picture has its own posterior."""
    pictures = [np.roll(pixels_of(1, 8, 8), shift) for shift in range(30)]
    files = [plain(one) for one in pictures]
    expected = (await client.post("/encode", files=[("image", ("x", file)) for file in files])).json()["mu"]
    assert len(set(map(tuple, expected))) == 30
    for place in (0, 15, 29):
        mixed = list(files)
        data = zlib.compress(lines(pictures[place], [4]))
        mixed[place] = header(pictures[place]) + chunk(b"IDAT", data[:9]) + chunk(b"IDAT", data[9:]) + chunk(b"IEND")
        answer = await client.post("/encode", files=[("image", ("x", file)) for file in mixed])
        assert answer.json()["mu"] == expected
