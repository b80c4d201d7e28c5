"""Answers that are not those of a service, or not those to the request."""

from collections.abc import Callable

import httpx
import pytest
import vae_client
from vae_client import NoAnswer, npy

from tests.client.calling import ADDED, ITEM, WAYS, Script, calling, problem


@pytest.mark.parametrize("way", WAYS)
def test_answers_of_something_else(way: str) -> None:
    page = httpx.Response(200, text="<html>", headers={"content-type": "text/html"})
    script = Script(
        page, page, httpx.Response(200, json=[]), httpx.Response(404, text="<html>nothing"), httpx.Response(200, json=ITEM)
    )
    with calling(way, "http://x/prefix/", transport=script.transport()) as client:
        for ask in (client.models, client.sample, client.list_collections):
            with pytest.raises(vae_client.UnexpectedAnswer, match="cannot be read"):
                ask()
        with pytest.raises(vae_client.NotFound, match=r"^404: <html>nothing$"):
            client.models()
        assert client.get_item("digits", "a").mu is None
    assert [request.url.path for request in script.requests[:2]] == ["/prefix/models", "/prefix/sample"]


@pytest.mark.parametrize("way", WAYS)
def test_answers_that_do_not_fit_the_request(way: str) -> None:
    asks: list[Callable[[vae_client.Client], object]] = [
        lambda client: client.encode([b"a", b"b", b"c"]),
        lambda client: client.decode([[0.0]] * 3),
        lambda client: client.sample(1),
        lambda client: client.reconstruct([b"a", b"b", b"c"]),
        lambda client: client.interpolate([0.0], [1.0], steps=3),
        lambda client: client.add("digits", b"a", ids="a"),
        lambda client: client.encode(b"a"),
    ]
    two, three = (httpx.Response(200, content=npy.latents_file([[0.0, 0.0]] * rows)[0]) for rows in (2, 3))
    script = Script(*[two] * 5, httpx.Response(200, json={**ADDED, "ids": ["b"]}), three)
    with calling(way, "http://x", transport=script.transport()) as client:
        for ask in asks:
            with pytest.raises(vae_client.UnexpectedAnswer, match="cannot be read"):
                ask(client)


@pytest.mark.parametrize("way", WAYS)
def test_what_else_may_answer(way: str) -> None:
    moved = [httpx.Response(301, headers={"location": place}) for place in ("https://y/vae/info?a", "/vae/info", "//z/login")]
    ready = [httpx.Response(200, text=text) for text in ("<html>", '{"status": "x"}', "[]", '{"status": "ready"}')]
    script = Script(*moved, *ready, problem(422, "x", item=True), httpx.ReadError(""))
    with calling(way, "http://x", transport=script.transport(), retry_seconds=0) as client:
        for place in ("the service is at https://y/vae: use", "the service is at http://x/vae: use", "to http://z/login"):
            with pytest.raises(vae_client.InvalidRequest, match=place):
                client.info()
        assert [client.ready() for _ in ready] == [False, False, False, True]
        with pytest.raises(vae_client.InvalidRequest) as caught:
            client.info()
        assert caught.value.item is None
        with pytest.raises(NoAnswer, match="from http://x: ReadError"):
            client.info()
        with pytest.raises(NoAnswer, match="Invalid non-printable"):
            client.request("GET", "/\x01")
