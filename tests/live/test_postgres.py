"""The service on a PostgreSQL where a session holds a lock for ever, and on one that does not answer."""

import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from tests.service.store.postgres_server import Postgres

from .problems import problem
from .server import Server, serving

MODEL = {"VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
ARGUMENTS = ("--shutdown-seconds", "1")
BODY = json.dumps({"items": [{"id": "a", "mu": [0.0, 0.0]}]})
QUERY = json.dumps({"mu": [0.0, 0.0]})


@pytest.fixture
def database(postgres: Postgres) -> str:
    return postgres.create(f"live_{uuid.uuid4().hex}")


@contextmanager
def held(database: str, **variables: str) -> Iterator[tuple[Server, httpx.Client, psycopg.Connection[Any]]]:
    """A service with the collections "stuck" and "other", a client, and a session that holds a lock that writers need."""
    with (
        psycopg.connect(database) as forgotten,
        serving(*ARGUMENTS, variables={**MODEL, "VAE_STORE": database, **variables}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        for name in ("stuck", "other"):
            client.put(f"/collections/{name}").raise_for_status()
            client.post(f"/collections/{name}/items", content=BODY).raise_for_status()
        forgotten.execute("SELECT * FROM vae_collections WHERE name = 'stuck' FOR UPDATE")
        yield server, client, forgotten


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.soak)])
def test_a_lock_that_nobody_releases(database: str, workers: str) -> None:
    with held(database, VAE_WORKERS=workers) as (server, client, _), ThreadPoolExecutor(20) as callers:
        ends = [callers.submit(_answer, f"{server.url}/collections/stuck/items", BODY) for _ in range(20)]
        late = client.post("/collections/stuck/items?timeout_ms=2000", content=BODY)  # time enough to get to the lock
        problem(late, 504, "deadline_exceeded", "may or may not have been")
        assert client.post("/collections/other/items", content=BODY).status_code == 200
        assert client.post("/collections/stuck/search", content=QUERY).status_code == 200
        server.terminate()
        assert server.wait() == 0, server.log
        assert {end.result() for end in ends} <= {503, None}


@pytest.mark.soak
def test_whoever_waits_for_a_lock_is_told_so(database: str) -> None:
    with held(database) as (server, client, forgotten), ThreadPoolExecutor(20) as callers:
        for refused in callers.map(lambda _: client.post("/collections/stuck/items", content=BODY), range(8)):
            problem(refused, 503, "busy", "nothing was changed")
            assert int(refused.headers["retry-after"]) > 1
        forgotten.rollback()
        assert client.post("/collections/stuck/items", content=BODY).status_code == 200
        number = forgotten.execute("SELECT number FROM vae_collections WHERE name = 'stuck'").fetchone()
        assert number is not None
        forgotten.execute(f"LOCK TABLE vae_items_{number[0]} IN ACCESS EXCLUSIVE MODE".encode())
        ends = [callers.submit(_answer, f"{server.url}/collections/stuck/search", QUERY) for _ in range(20)]
        assert client.post("/collections/other/search", content=QUERY).status_code == 200
        late = client.post("/collections/stuck/search?timeout_ms=300", content=QUERY)
        problem(late, 504, "deadline_exceeded")
        server.terminate()
        assert server.wait() == 0, server.log
        assert {end.result() for end in ends} <= {503, None}


def _answer(url: str, body: str) -> int | None:
    """The status, or None where there was none."""
    try:
        return httpx.post(url, content=body, timeout=60).status_code
    except httpx.HTTPError:
        return None


@pytest.mark.soak
def test_a_database_that_stands_still(postgres: Postgres, database: str) -> None:
    variables = {**MODEL, "VAE_STORE": database}
    with serving(*ARGUMENTS, variables=variables) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        client.put("/collections/some").raise_for_status()
        with postgres.frozen():
            problem(client.get("/collections?timeout_ms=300"), 504, "deadline_exceeded")
            problem(client.post("/collections/some/items", content=BODY), 503, "store_unavailable")
            assert client.get("/health/ready").status_code == 200
            assert client.get("/sample?seed=1").status_code == 200
            with ThreadPoolExecutor(8) as callers:
                ends = [callers.submit(_answer, f"{server.url}/collections/some/search", QUERY) for _ in range(8)]
                server.terminate()
                assert server.wait() == 0, server.log
                assert {end.result() for end in ends} <= {503, None}


@pytest.mark.soak
def test_a_port_where_no_database_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables: dict[str, Any] = {**MODEL, "VAE_STORE": f"postgresql://vae@127.0.0.1:{silent.getsockname()[1]}/vae"}
        with serving(*ARGUMENTS, variables=variables) as server:
            problem(httpx.get(f"{server.url}/collections", timeout=60), 503, "store_unavailable")
            problem(httpx.get(f"{server.url}/collections?timeout_ms=300", timeout=60), 504, "deadline_exceeded")
            server.terminate()
            assert server.wait() == 0, server.log
