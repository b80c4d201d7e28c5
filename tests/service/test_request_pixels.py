"""The pixels of all pictures of one request are bounded, not only those of each."""

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
