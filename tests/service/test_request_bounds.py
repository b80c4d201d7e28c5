"""Bounds of a whole request: the pixels of all its pictures, the lists of its JSON."""

import io

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image


def picture(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(("count", "status"), [(4, 200), (5, 413)])
async def test_many_large_pictures(app: FastAPI, count: int, status: int) -> None:
    """The fixture's application takes 10,000 pixels a picture: four such pictures in one request, not five."""
    files = [("image", ("large.png", picture(100), "image/png"))] * count
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/encode", files=files)
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["code"] == "too_many_pixels"
        assert answer.json()["item"] == 4


async def test_a_flood_of_lists_is_not_parsed(app: FastAPI) -> None:
    """It is refused by its brackets, whatever else is wrong with it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/decode", content=b'{"z": [' + b"[0]," * 1000 + b"no JSON")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_items")
