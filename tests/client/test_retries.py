"""What is sent again and when: answers are made up, and clocks too."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import vae_client
from vae_client.errors import NoAnswer, problem_of
from vae_client.retrying import Attempts

from tests.client.calling import ADDED, ITEM, WAYS, Script, calling, problem

Answers = Callable[[httpx.Request], httpx.Response]


LOST, NEVER = httpx.ReadError("lost"), httpx.ConnectError("refused")


@pytest.mark.parametrize("way", WAYS)
def test_what_does_no_harm_is_sent_again(way: str) -> None:
    faults: list[httpx.Response | Exception] = [
        problem(429, "queue_full"),
        problem(503, "starting"),
        httpx.Response(502),
        LOST,
        NEVER,
    ]
    script = Script(*faults, httpx.Response(200, json=ADDED))
    with calling(way, "http://x", transport=script.transport()) as client:
        added = client.add("digits", b"picture", ids="a")
    blank = vae_client.PictureWarning("blank", "d", 0)
    assert (added.ids, added.added, added.replaced, added.warnings) == (("a",), ("a",), (), (blank,))
    bodies = {request.content for request in script.requests}
    assert (len(script.requests), len(bodies)) == (6, 1)  # with the same ids


@pytest.mark.parametrize("way", WAYS)
def test_a_change_that_does_harm_twice_is_sent_again_only_if_it_was_not_made(way: str) -> None:
    script = Script(problem(429, "rate_exceeded"), NEVER, httpx.Response(200, json={"id": "a", "seq": 1}))
    with calling(way, "http://x", transport=script.transport()) as client:
        client.delete_item("digits", "a")
    for fault, kind in ((LOST, NoAnswer), (problem(503, "busy"), vae_client.Unavailable)):
        changes: list[Callable[[vae_client.Client], object]] = [
            lambda client: client.delete_collection("digits"),
            lambda client: client.delete_items("digits", ids=["a"]),
            lambda client: client.add("digits", b"picture", if_exists="error"),  # It would exist the second time.
        ]
        for change in changes:
            script = Script(fault)
            with calling(way, "http://x", transport=script.transport()) as client, pytest.raises(kind):
                change(client)
            assert len(script.requests) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_change_of_metadata_is_sent_again(way: str) -> None:
    script = Script(LOST, problem(503, "busy"), httpx.Response(200, json=ITEM))
    with calling(way, "http://x", transport=script.transport()) as client:
        assert client.change_item("digits", "a/b", {"n": None}, timeout_ms=5000).metadata == {}
    assert {(one.method, one.url.raw_path, one.content) for one in script.requests} == {
        ("PATCH", b"/collections/digits/items/a%2Fb", b'{"n":null}')
    }
    assert script.requests[0].headers["x-timeout-ms"] == "5000"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_wrong_is_not_sent_again(way: str) -> None:
    script = Script(problem(422, "unusable_input", None, item=3), problem(504, "deadline_exceeded", None))
    with calling(way, "http://x", transport=script.transport()) as client:
        with pytest.raises(vae_client.InvalidRequest, match="422 unusable_input: because") as caught:
            client.encode(b"picture")
        found = caught.value
        assert (found.status, found.code, found.detail, found.request_id, found.item) == (
            *(422, "unusable_input", "because", "abc", 3),
        )
        with pytest.raises(vae_client.DeadlineExceeded):
            client.encode(b"picture", timeout_ms=5)
    assert script.requests[1].headers["x-timeout-ms"] == "5"
    assert script.requests[0].headers["user-agent"].startswith(f"vae-client/{vae_client.__version__} ")


@pytest.mark.parametrize("way", WAYS)
def test_an_end_of_patience(way: str) -> None:
    script = Script(problem(429, "rate_exceeded", "30"))
    with calling(way, "http://x", transport=script.transport(), retry_seconds=20) as client:
        with pytest.raises(vae_client.Overloaded) as caught:
            client.sample()
        assert caught.value.retry_after == 30
    with calling(way, "http://127.0.0.1:1", retry_seconds=0) as client:
        with pytest.raises(NoAnswer, match=r"no answer from http://127\.0\.0\.1:1: ") as failed:
            client.sample()
        assert not failed.value.sent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def failure(status: int, after: str | None) -> vae_client.ProblemError:
    found = problem_of(problem(status, "x", after))
    assert found is not None
    return found


def test_pauses() -> None:
    clock = Clock()
    attempts = Attempts(True, 60, clock)
    assert 7 <= attempts.pause_after(failure(429, "7")) <= 7.7
    pauses = [attempts.pause_after(NoAnswer("lost", sent=True)) for _ in range(8)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5), strict=True):
        assert least <= pause <= 1.1 * least + 1e-9
    assert attempts.pause_after(failure(503, None)) >= 5
    assert attempts.pause_after(failure(503, "soon")) >= 5
    assert attempts.pause_after(failure(503, "0.5")) <= 0.55
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    assert 7 <= attempts.pause_after(failure(503, date)) <= 9.9
    assert [failure(503, wrong).retry_after for wrong in ("-1", "nan", "inf", "soon", "")] == [None] * 5
    assert failure(503, format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)).retry_after == 0
    clock.now += 54
    with pytest.raises(vae_client.Overloaded):
        attempts.pause_after(failure(429, "7"))


def test_a_certificate_that_is_not_trusted_will_not_become_so() -> None:
    lost = NoAnswer("x", sent=False)
    lost.__cause__ = httpx.ConnectError("x")
    lost.__cause__.__context__ = ssl.SSLCertVerificationError()
    with pytest.raises(NoAnswer):
        Attempts(True, 60).pause_after(lost)


@pytest.mark.parametrize("many", [False, True])
def test_closing_ends_the_wait(many: bool) -> None:
    asked = threading.Event()

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.set()
        return problem(503, "starting", "50")

    client = vae_client.Client("http://x", transport=httpx.MockTransport(refuse))

    def close() -> None:
        asked.wait()
        client.close()

    closer = threading.Thread(target=close)
    closer.start()
    started = time.monotonic()
    with pytest.raises(vae_client.BatchFailed if many else vae_client.Unavailable):
        client.encode_many([b"a"] * 9, batch_size=1) if many else client.sample()
    closer.join()
    assert time.monotonic() - started < 40
    with pytest.raises(NoAnswer, match="the client is closed"):
        client.sample()


def test_closing_the_asynchronous_client_ends_the_wait() -> None:
    async def close() -> None:
        asked = asyncio.Event()

        def refuse(request: httpx.Request) -> httpx.Response:
            asked.set()
            return problem(503, "starting", "50")

        client = vae_client.AsyncClient("http://x", transport=httpx.MockTransport(refuse))
        waiting = asyncio.create_task(client.encode_many([b"a"] * 9, batch_size=1))
        await asked.wait()
        await client.aclose()
        with pytest.raises(vae_client.BatchFailed):
            await waiting
        with pytest.raises(NoAnswer, match="the client is closed"):
            await client.sample()

    started = time.monotonic()
    asyncio.run(close())
    assert time.monotonic() - started < 40


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_batch_ends_the_wait_of_the_others(way: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return problem(422, "unusable_input", None) if request.content == b"bad" else problem(503, "starting", "50")

    started = time.monotonic()
    with (
        calling(way, "http://x", transport=httpx.MockTransport(answer), retry_seconds=1000) as client,
        pytest.raises(vae_client.BatchFailed, match="item 0: 422"),
    ):
        client.encode_many([b"bad", b"good", b"good", b"good"], batch_size=1)
    assert time.monotonic() - started < 40
