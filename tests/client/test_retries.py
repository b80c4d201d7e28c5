"""What is sent again and when: answers are made up, and clocks too."""

import re
import ssl
import threading
import time
from collections.abc import Callable

import httpx
import pytest
import vae_client
from vae_client.errors import NoAnswer, problem_of
from vae_client.retrying import Attempts

from tests.client.calling import WAYS, calling

Answers = Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, after: str | None = "0", **others: object) -> httpx.Response:
    headers = {"x-request-id": "abc"} | ({} if after is None else {"retry-after": after})
    return httpx.Response(status, json={"code": code, "detail": "because", **others}, headers=headers)


class Script:
    """Answers requests in turn: with responses, or by raising."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


LOST, NEVER = httpx.ReadError("lost"), httpx.ConnectError("refused")
ITEM = {"id": "a", "metadata": {}, "seq": 1, "mu": None, "of a later version": 1}
ADDED = {
    "ids": ["a"],
    "seq": 1,
    "added": ["a"],
    "replaced": [],
    "warnings": [{"item": 0, "code": "blank", "detail": "d"}],
    "of a later version": 1,
}


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
        added = client.add("digits", b"picture")
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


@pytest.mark.parametrize("kind", [vae_client.Client, vae_client.AsyncClient])
def test_addresses(kind: Callable[[str], object]) -> None:
    for wrong in (
        "localhost:8000",
        "",
        "http://",
        "ftp://x",
        "http:/x",
        "//x:80",
        " http://x",
        "http://x\n",
        "::1",
        "http://x?a=1",
    ):
        with pytest.raises(ValueError, match=re.escape(f"the address of the service is {wrong!r}")):
            kind(wrong)
    for right in ("http://x", "https://x/", "http://x:80/vae", "HTTP://x/vae/", "http://[::1]:8000"):
        kind(right)


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
    clock.now += 54
    with pytest.raises(vae_client.Overloaded):
        attempts.pause_after(failure(429, "7"))


def test_a_certificate_that_is_not_trusted_will_not_become_so() -> None:
    lost = NoAnswer("x", sent=False)
    lost.__cause__ = httpx.ConnectError("x")
    lost.__cause__.__context__ = ssl.SSLCertVerificationError()
    with pytest.raises(NoAnswer):
        Attempts(True, 60).pause_after(lost)


def test_closing_ends_the_wait() -> None:
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
    with pytest.raises(vae_client.Unavailable):
        client.sample()
    closer.join()
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
