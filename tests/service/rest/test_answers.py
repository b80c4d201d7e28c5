"""JSON of many posteriors: the same bytes as of all at once, with turns for others in between."""

import asyncio
from typing import Any

import numpy as np
import pytest

from service.formats.json_values import json_bytes
from service.latents import noise as seeds
from service.rest.answers import NUMBERS_A_TURN, posteriors_json


def fields_of(rows: int, dim: int) -> dict[str, Any]:
    mu = seeds.standard_normal(1, rows, dim)
    return {"model": "mnist", "mu": mu, "kl": np.ascontiguousarray(mu[:, 0]), "seed": 7, "z": mu * 1e-9}


@pytest.mark.parametrize(
    ("rows", "dim"), [(1, 20), (1, 3 * NUMBERS_A_TURN), (NUMBERS_A_TURN // 20, 20), (1234, 20), (3 * NUMBERS_A_TURN, 1)]
)
async def test_the_bytes_are_those_of_all_at_once(rows: int, dim: int) -> None:
    fields = fields_of(rows, dim)
    assert await posteriors_json(fields) == json_bytes(fields)


@pytest.mark.parametrize(("rows", "turns"), [(10, 0), (5000, 20)])
async def test_others_get_turns_beside_long_ones(rows: int, turns: int) -> None:
    writing = asyncio.ensure_future(posteriors_json(fields_of(rows, 20)))
    waited = -1  # the first turn begins it
    while not writing.done():
        await asyncio.sleep(0)
        waited += 1
    assert turns <= waited <= turns + 2
