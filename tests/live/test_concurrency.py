"""An answer never depends on who else is being served: many callers at once get the bytes that each gets alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from .burst import burst
from .pictures import Pixels, encoded, from_npy, npy, text
from .server import Server

CALLERS = 64

Request = tuple[str, str, dict[str, Any]]


@pytest.fixture
async def crowd(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a connection for each of many callers."""
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=120) as client:
        yield client


async def content(client: httpx.AsyncClient, request: Request) -> bytes:
    method, path, body = request
    answer = await client.request(method, path, **body)
    assert answer.status_code == 200, answer.text
    return answer.content


async def alone(client: httpx.AsyncClient, requests: list[Request]) -> list[bytes]:
    """One after the other."""
    return [await content(client, request) for request in requests]


async def together(client: httpx.AsyncClient, requests: list[Request]) -> list[bytes]:
    return await asyncio.gather(*(content(client, request) for request in requests))


async def at_once(server: Server, requests: list[Request]) -> list[bytes]:
    """In one burst, so that they share batches for certain."""
    replies = await burst(server, [httpx.Request(method, server.url + path, **body) for method, path, body in requests])
    assert {reply.status for reply in replies} == {200}
    return [reply.content for reply in replies]


def counts(server: Server, operation: str) -> tuple[int, int]:
    """(rows, batches) of an operation of mnist since the start."""
    found = server.info()["engine"]["mnist"][operation]
    return found["rows"], found["batches"]


async def test_64_callers_with_different_digits(crowd: httpx.AsyncClient, pngs: list[bytes], server: Server) -> None:
    requests: list[Request] = [("POST", "/encode", {"content": png}) for png in pngs[:CALLERS]]
    expected = await alone(crowd, requests)
    assert len(set(expected)) == CALLERS
    rows, batches = counts(server, "encode")
    for _ in range(4):
        assert await at_once(server, requests) == expected
    rows_after, batches_after = counts(server, "encode")
    assert rows_after - rows == 4 * CALLERS
    assert batches_after - batches <= CALLERS  # four or more of them in one, and mostly all


async def test_callers_of_one_row_share_the_batches_of_a_huge_request(
    crowd: httpx.AsyncClient, pngs: list[bytes], server: Server
) -> None:
    """First, in the middle or last: whoever comes while it is computed gets into the batches that it needs anyway."""
    huge: Request = ("GET", "/sample?n=2000&seed=5&format=npy", {})
    small: list[Request] = [("GET", f"/sample?n=1&seed={seed}&format=npy", {}) for seed in range(CALLERS)]
    expected = await alone(crowd, [huge, *small])
    for place in (0, CALLERS // 2, CALLERS):
        rows, batches = counts(server, "decode")
        order = [*small[:place], huge, *small[place:]]
        assert await at_once(server, order) == [*expected[1 : 1 + place], expected[0], *expected[1 + place :]]
        rows_after, batches_after = counts(server, "decode")
        assert rows_after - rows == 2000 + CALLERS
        assert batches_after - batches < 2000 // 64 + CALLERS // 2


async def test_every_operation_of_many_callers(crowd: httpx.AsyncClient, pngs: list[bytes], server: Server) -> None:
    z = np.random.default_rng(3).normal(size=(CALLERS, 20))
    kinds: list[Any] = [
        lambda i: ("POST", "/decode?format=npy&dtype=float32", {"json": {"z": [z[i].tolist()]}}),
        lambda i: ("GET", f"/sample?n=3&seed={i}", {}),
        lambda i: ("POST", "/encode?include=z&seed=1", {"json": {"images": [text(pngs[i]), text(pngs[i + 1])]}}),
        lambda i: ("POST", "/reconstruct?format=png&compare=true", {"content": pngs[i]}),
        lambda i: ("POST", "/interpolate?steps=5&format=npy", {"files": {"start": ("x", pngs[i]), "end": ("y", pngs[i + 1])}}),
        lambda i: ("GET", f"/sample?n=2&seed={i}&model=fashion-mnist&format=png", {}),
        lambda i: ("POST", "/combine?include=z", {"json": {"terms": [{"image": text(pngs[i])}, {"z": z[i].tolist()}]}}),
        lambda i: ("POST", "/barycenter?method=w2", {"json": {"points": [{"image": text(png)} for png in pngs[i : i + 3]]}}),
        lambda i: ("POST", "/traverse?dims=local:3&steps=5", {"files": [("image", ("x", png)) for png in pngs[i : i + 2]]}),
        lambda i: ("GET", f"/manifold?dims={i % 20},{(i + 1) % 20}&n=5", {}),
    ]
    requests: list[Request] = [kinds[i % len(kinds)](i) for i in range(CALLERS)]
    expected = await alone(crowd, requests)
    for _ in range(3):
        assert await together(crowd, requests) == expected
        assert await at_once(server, requests) == expected
        requests, expected = requests[::-1], expected[::-1]


async def test_big_requests_beside_small_ones(crowd: httpx.AsyncClient, digits: Pixels, pngs: list[bytes]) -> None:
    many = np.concatenate([digits] * 8)  # 2048 rows
    small: list[Request] = [("POST", "/encode", {"content": png}) for png in pngs[:40]]
    big: list[Request] = [
        ("POST", "/encode?format=npy", {"content": npy(many)}),
        ("POST", "/encode?format=npy", {"content": npy(many.astype(np.float32) / 255)}),
        ("GET", "/sample?n=1500&seed=5&format=npy", {}),
        ("POST", "/decode?format=npy", {"content": npy(np.zeros((1000, 20), np.float32))}),
        ("POST", "/encode?format=npy", {"files": [("image", ("x", png)) for png in pngs]}),
    ]
    expected = await alone(crowd, small + big)
    # every row of a big request is the row that it is alone
    in_bytes = from_npy(expected[len(small)])
    assert (in_bytes.reshape(2, 8, 256, 20) == in_bytes[:, None, :256]).all()
    assert expected[-1] == (await content(crowd, ("POST", "/encode?format=npy", {"content": npy(digits)})))
    of_small, of_big = expected[: len(small)], expected[len(small) :]
    assert await together(crowd, small[:20] + big + small[20:]) == of_small[:20] + of_big + of_small[20:]
    assert await together(crowd, big[::-1] + small) == of_big[::-1] + of_small


async def test_bad_requests_among_good_ones(crowd: httpx.AsyncClient, digits: Pixels, pngs: list[bytes]) -> None:
    good: list[Request] = [("POST", "/encode", {"content": png}) for png in pngs[:24]]
    expected = await alone(crowd, good)

    async def bad(i: int) -> int:
        bodies: list[dict[str, Any]] = [
            {"content": pngs[i][:-30]},
            {"content": b"\xff" * 100},
            {"files": [("image", ("x", pngs[i])), ("image", ("x", pngs[i][:50]))]},
            {"content": npy(np.full((4, 28, 28), np.nan, np.float32))},
            {"json": {"images": [text(encoded(digits[i])), "?"]}},
        ]
        return (await crowd.post("/encode", **bodies[i % len(bodies)])).status_code

    outcomes = await asyncio.gather(together(crowd, good), *(bad(i) for i in range(25)))
    assert outcomes[0] == expected
    assert set(outcomes[1:]) == {400, 415, 422}
    health: dict[str, Any] = (await crowd.get("/info")).json()["engine"]["mnist"]
    assert {operation["queued_rows"] for operation in health.values()} == {0}


@pytest.mark.soak
async def test_long_runs_of_mixed_traffic(crowd: httpx.AsyncClient, digits: Pixels, pngs: list[bytes]) -> None:
    """Some 20 000 requests in random order and company."""
    random = np.random.default_rng(0)
    requests: list[Request] = [
        *(("POST", "/encode", {"content": png}) for png in pngs[:30]),
        *(("GET", f"/sample?n={n}&seed={n}&format=npy", {}) for n in (1, 2, 7, 8, 9, 63, 64, 65, 300)),
        *(("POST", "/encode?format=npy", {"content": npy(digits[:n])}) for n in (1, 5, 64, 100, 256)),
    ]
    expected = await alone(crowd, requests)
    for _ in range(20_000 // CALLERS):
        order = random.integers(0, len(requests), CALLERS)
        assert await together(crowd, [requests[i] for i in order]) == [expected[i] for i in order]
