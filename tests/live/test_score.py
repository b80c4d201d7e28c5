"""/score of a running service: a picture has the same numbers alone, in a request of many and in a crowd."""

import asyncio

import httpx
import numpy as np

from .pictures import Pixels, npy
from .server import Server

ASKED = "/score?scores=reconstruction,unexplained,deviance,elbo,iwae,regret"
# Numbers that the first digit must not share with the others.
KEYS = ("value", "p_value", "ess")


async def test_alone_and_in_company(server: Server, digits: Pixels) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:

        async def scored(x: Pixels) -> httpx.Response:
            return (await client.post(ASKED, content=npy(x))).raise_for_status()

        alone = [await scored(digits[i : i + 1]) for i in range(4)]
        crowd = await asyncio.gather(
            *(scored(digits[i : i + 1]) for i in range(4)),
            *(client.post("/encode", content=npy(digits[i : i + 8])) for i in range(8)),
            scored(digits[:20]),
        )
    assert [one.content for one in crowd[:4]] == [one.content for one in alone]
    many = crowd[-1].json()["scores"]
    assert len({one.content for one in alone}) == 4
    for i, one in enumerate(alone):
        for name, found in one.json()["scores"].items():
            for key in KEYS:
                if found.get(key) is not None:
                    assert found[key] == many[name][key][i : i + 1], (name, key)


def test_strangers_are_more_unusual_than_digits(client: httpx.Client, digits: Pixels) -> None:
    x = np.concatenate([digits[:8], 255 - digits[:8]])
    found = client.post("/score?scores=deviance,unexplained,regret", content=npy(x)).raise_for_status().json()["scores"]
    for name in ("deviance", "unexplained", "regret"):
        assert max(found[name]["value"][:8]) < min(found[name]["value"][8:]), name
