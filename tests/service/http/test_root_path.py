"""The service under a path, behind proxies that remove it from requests, and others that do not."""

import httpx
import pytest

from service.app import create_app
from service.settings import Settings, SettingsError

KEY = {"x-api-key": "a-key-that-is-long-enough-to-be-one"}


def client(path: str = "/vae/") -> httpx.AsyncClient:
    """A client of an application that is not started."""
    settings = Settings(root_path=path, api_keys=f"app infer {KEY['x-api-key']}", admin=True)
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(settings).middleware_stack), base_url="http://localhost")  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["", "/vae"])
async def test_both_kinds_of_proxies(prefix: str) -> None:
    async with client() as caller:
        assert (await caller.get(f"{prefix}/docs", headers=KEY)).status_code == 200
        assert (await caller.get(f"{prefix}/explore/main.js")).status_code == 200
        assert (await caller.get(f"{prefix}/static-offline-docs/favicon.png", headers=KEY)).status_code == 200
        assert (await caller.get(f"{prefix}/openapi.json", headers=KEY)).json()["servers"] == [{"url": "/vae"}]
        for path, status in (("/health/ready", 503), ("/encode", 503), ("/models/mnist", 503), ("/nothing", 404)):
            method = "POST" if path == "/encode" else "GET"
            assert (await caller.request(method, prefix + path, headers=KEY)).status_code == status, path


@pytest.mark.parametrize("prefix", ["", "/vae"])
async def test_what_is_closed_stays_closed(prefix: str) -> None:
    async with client() as caller:
        assert (await caller.post(f"{prefix}/encode")).status_code == 401
        assert (await caller.post(f"{prefix}/admin/models/mnist/load", headers=KEY)).status_code == 403
        other = {"host": "localhost", "origin": "https://evil.example", **KEY}
        assert (await caller.post(f"{prefix}/collections/x/items", headers=other)).status_code == 403


@pytest.mark.parametrize("path", ["/", "/vae", "/vae/"])
async def test_redirects(path: str) -> None:
    async with client() as caller:
        assert (await caller.get(path)).headers["location"] == "/vae/docs"
        assert (await caller.get(path, headers={"accept": "text/html"})).headers["location"] == "/vae/explore"
        assert (await caller.get("/vaex/", headers=KEY)).status_code == 404


async def test_without_a_path_links_are_relative() -> None:
    async with client("/") as caller:
        assert (await caller.get("/")).headers["location"] == "docs"
        assert (await caller.get("/", headers={"accept": "text/html"})).headers["location"] == "explore"
        assert "servers" not in (await caller.get("/openapi.json", headers=KEY)).json()


@pytest.mark.parametrize("path", ["/models", "/health/vae", "/docs"])
def test_a_path_that_would_be_mistaken_for_an_endpoint(path: str) -> None:
    with pytest.raises(SettingsError, match=f"root_path: {path} begins like an endpoint of the service"):
        create_app(Settings(root_path=path))
