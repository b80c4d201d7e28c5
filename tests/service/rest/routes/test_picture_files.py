"""Picture files of any size that cannot be written, and other requests that are refused before anything is computed."""

from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.autoencoders import CHANNELS
from tests.service.autoencoder_service import picture, refusal, text

pytestmark = pytest.mark.asyncio(loop_scope="module")


def prepared(kl_app: FastAPI) -> set[str]:
    kind = kl_app.state.service.pipeline.catalog.get("kl").kind
    return {name for name, lane in kind.all_lanes.items() if lane.stats.batches}


@pytest.mark.parametrize("as_picture", [False, True], ids=["latents", "picture"])
async def test_a_file_with_sides_that_its_format_cannot_have_is_refused_before_it_is_computed(
    kl_client: httpx.AsyncClient, kl_app: FastAPI, as_picture: bool
) -> None:
    def end(width: int) -> Any:
        if as_picture:
            return {"image": text(picture(4, width))}
        return {"z": np.zeros((CHANNELS, 1, width // 4), np.float32).tolist()}

    before = prepared(kl_app)
    for form, width, most in (("webp", 16_384, 16_383), ("gif", 65_536, 65_535)):
        body = {"start": end(width), "end": end(width), "steps": 2}
        said = refusal(await kl_client.post(f"/interpolate?format={form}", json=body))
        assert f"4 x {width} pixels (height x width), and each side of a {form} file can have at most {most}" in said
        assert "use format=png" in said
    assert prepared(kl_app) == before


async def test_a_scale_for_pictures_of_another_size_is_refused_before_they_are_computed(
    kl_client: httpx.AsyncClient, kl_app: FastAPI
) -> None:
    before = prepared(kl_app)
    file = picture(4, 2048)
    for path, body in (
        ("/reconstruct?format=png&scale=32", {"content": file}),
        ("/interpolate?format=png&scale=32", {"json": {"start": {"image": text(file)}, "end": {"image": text(file)}}}),
    ):
        assert "the answer would be too large" in refusal(await kl_client.post(path, **body))
    assert prepared(kl_app) == before


async def test_diffusers_gets_no_jpeg_with_longer_sides_than_it_can_have(
    kl_client: httpx.AsyncClient, kl_app: FastAPI
) -> None:
    before = prepared(kl_app)
    query = "shape=1&shape=4&shape=1&shape=16376"
    said = refusal(await kl_client.post(f"/diffusers/kl/decode?{query}", content=bytes(16 * 16_376)))
    assert "4 x 65504 pixels (height x width), and each side of a JPEG file can have at most 65500" in said
    assert "image_format=png" in said
    assert prepared(kl_app) == before


@pytest.mark.parametrize("operation", ["encode", "decode"])
async def test_diffusers_hears_of_an_unknown_model_first(kl_client: httpx.AsyncClient, operation: str) -> None:
    assert "no model 'nope' is loaded" in refusal(await kl_client.post(f"/diffusers/nope/{operation}"), 404)


@pytest.mark.parametrize("query", ["n=1_0", "n=%201", "temperature=1_0.5", "seed=1_0", "n=%D9%A1"])
async def test_numbers_in_a_query_are_plain(kl_client: httpx.AsyncClient, query: str) -> None:
    assert query.partition("=")[0] in refusal(await kl_client.get(f"/sample?model=grey&{query}"))
