"""Every answer carries X-Request-Id, the client's own where it is a plain word."""

import re

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http.request_id import RequestId

NEW = re.compile(r"[0-9a-f]{32}")


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the id that it finds in its scope."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["state"]["request_id"].encode()})


async def ask(**headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(RequestId(show)), base_url="http://test") as client:
        return await client.get("/", headers=headers)


@pytest.mark.parametrize("own", ["a", "req-42", "5f0c9e7a-3b1d-4c8e-9a57-1f2e3d4c5b6a", "a/b:c.d_e+f=", "x" * 128])
async def test_a_plain_word_of_the_client_is_kept(own: str) -> None:
    answer = await ask(**{"X-Request-Id": own})
    assert (answer.headers.get_list("x-request-id"), answer.text) == ([own], own)


@pytest.mark.parametrize("own", ["", "two words", "x" * 129, 'a"b', "<script>", "a\tb", "a;b", "a%0ab"])
async def test_anything_else_is_replaced(own: str) -> None:
    answer = await ask(**{"X-Request-Id": own})
    assert NEW.fullmatch(answer.text)
    assert answer.headers.get_list("x-request-id") == [answer.text]


async def test_each_request_without_one_gets_its_own() -> None:
    texts = {(await ask()).text for _ in range(10)}
    assert len(texts) == 10
    assert all(NEW.fullmatch(text) for text in texts)


async def test_a_header_that_the_application_set_is_left_alone() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Request-Id", b"mine")]})
        await send({"type": "http.response.body"})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(RequestId(answer)), base_url="http://test") as client:
        assert (await client.get("/")).headers.get_list("x-request-id") == ["mine"]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_events_pass_untouched(kind: str) -> None:
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def never() -> Message:
        raise AssertionError

    async def nothing(message: Message) -> None:
        raise AssertionError

    await RequestId(application)({"type": kind}, never, nothing)
    assert seen == [{"type": kind}]


async def test_every_answer_of_the_service_has_one(client: httpx.AsyncClient) -> None:
    for path, status in (("/health/live", 200), ("/nothing", 404), ("/sample?n=0", 422), ("/docs", 200), ("/", 307)):
        answer = await client.get(path, headers={"x-request-id": "mine"})
        assert (answer.status_code, answer.headers.get_list("x-request-id")) == (status, ["mine"])
