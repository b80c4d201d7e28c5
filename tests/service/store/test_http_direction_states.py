"""A direction is made from one state of its collection, whichever engine is behind the store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.service.rest.test_errors import check
from tests.service.store.test_http import add, serving

SMILE = "/collections/some/directions/smile"
COUNT = 16
SIDES: dict[str, list[Any]] = {
    "filters": [{"smile": True}, {"smile": False}],
    "ids": [{"ids": [f"f{i}" for i in range(first, COUNT, 2)]} for first in (0, 1)],
    "both": [{"smile": True}, {"ids": [f"f{i}" for i in range(1, COUNT, 2)]}],
}


def faces(version: int) -> list[dict[str, Any]]:
    """Items whose sides lie 2 * version apart in dimension 0, and both at the version in dimension 1."""
    return [{"id": f"f{i}", "mu": [version * (-1) ** i, version, 0], "metadata": {"smile": i % 2 == 0}} for i in range(COUNT)]


@pytest.mark.parametrize("form", ["both", *(pytest.param(form, marks=pytest.mark.soak) for form in ("filters", "ids"))])
async def test_all_items_are_read_in_the_state_that_seq_names(weights: Path, address: str, form: str) -> None:
    """All items change at once, again and again; both sides, and the sequence number, are those of one version."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        await add(client, *faces(1))

        async def change() -> None:
            for version in range(2, 40):
                await add(client, *faces(version))

        changing, seen = asyncio.ensure_future(change()), set[int]()
        while not changing.done():
            positive, negative = SIDES[form]
            made = (await client.put(SMILE, json={"positive": positive, "negative": negative})).raise_for_status().json()
            assert made["vector"] == [1, 0, 0]
            assert made["unit"] * COUNT == made["seq"]
            seen.add(made["seq"])
        await changing
        assert len(seen) > 1


async def test_sides_that_are_too_large_to_be_read_as_a_whole_are_refused(weights: Path, address: str) -> None:
    async with serving(weights, address) as (app, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        await add(client, *faces(1))
        app.state.service.store.snapshots._max_bytes = 10 * 90
        for positive, negative in (SIDES["filters"], SIDES["ids"], SIDES["both"]):
            (await client.put(SMILE, json={"positive": positive, "negative": negative})).raise_for_status()
        large = {"positive": {"smile": {"exists": True}}, "negative": {"mu": [[0, 0, 0]] * 2}}
        check(await client.put(SMILE, json=large), 413, "collection_too_large", "narrow the filter")
