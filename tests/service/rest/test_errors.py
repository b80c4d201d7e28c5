"""Every error has its status and its code, one body, and nothing of our own faults in it."""

import logging
import time
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from service.engine.errors import DeadlineExceeded, Overloaded
from service.formats import png
from service.formats.errors import Undecodable
from service.http.call import Call
from service.http.problems import HttpError
from service.rest.errors import STATUSES, describe
from service.rest.routes.generate import sample
from service.store import errors as refusals
from tests.service.rest.every_error import ERRORS

MEMBERS = {"type", "title", "status", "detail", "code", "error", "request_id"}


def test_the_list_is_the_table() -> None:
    listed = {type(error): (status, code) for error, status, code in ERRORS}
    assert {kind: found for kind, found in listed.items() if not issubclass(kind, HttpError)} == STATUSES
    own = {kind: (kind.status, kind.code) for kind in every(HttpError)}
    assert {kind: found for kind, found in listed.items() if issubclass(kind, HttpError)} == own


def every(kind: type[HttpError]) -> set[type[HttpError]]:
    """All errors of HTTP itself."""
    return {one for child in kind.__subclasses__() for one in {child, *every(child)}}


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_every_error_has_one_body(error: Exception, status: int, code: str) -> None:
    answered, _, headers, body = describe(error, "id-7")
    problem = orjson.loads(body)
    assert answered == problem["status"] == status
    assert problem == {
        "type": f"urn:vae-service:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(error),
        "code": code,
        "error": f"{code}: {error}",
        "request_id": "id-7",
    } | ({"ids": error.ids} if isinstance(error, refusals.ItemsExist) else {})
    assert (headers["content-type"], headers["x-request-id"]) == ("application/problem+json", "id-7")
    assert ("retry-after" in headers) == (status in (429, 503))
    assert ("www-authenticate" in headers) == (status == 401)


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (59.5, "60")])
def test_a_full_queue_says_when_to_come_back_in_whole_seconds(seconds: float, header: str) -> None:
    assert describe(Overloaded(seconds), "").headers["retry-after"] == header


@pytest.mark.parametrize("item", [0, 7])
def test_the_item_at_fault_is_named(item: int) -> None:
    problem = orjson.loads(describe(Undecodable("truncated", item), "").body)
    assert (problem["item"], problem["detail"]) == (item, f"item {item}: truncated")


def test_the_reason_of_our_own_faults_is_logged_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status, _, headers, body = describe(KeyError("the secret place"), "id-7")
    assert (status, orjson.loads(body)["code"], "retry-after" in headers) == (500, "internal_error", False)
    assert b"secret" not in body
    (record,) = caplog.records
    assert "id-7" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "'the secret place'"


def test_errors_of_callers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for error, _, _ in ERRORS:
        describe(error, "")
    assert caplog.records == []


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "method_not_allowed"), (418, "http_error")])
def test_errors_of_the_framework_have_the_same_body(status: int, code: str) -> None:
    answered, _, headers, body = describe(HTTPException(status, "what", {"Allow": "GET"}), "id-7")
    problem = orjson.loads(body)
    assert problem.keys() == MEMBERS
    assert (answered, problem["code"], problem["detail"], headers["allow"]) == (status, code, "what", "GET")


# --- through the application


def check(answer: httpx.Response, status: int, code: str, detail: str = "") -> dict[str, Any]:
    """The problem of an answer, after a look at what all problems have in common."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem.keys() - {"item", "ids"} == MEMBERS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["error"] == f"{code}: {problem['detail']}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert detail in problem["detail"]
    return problem


PNG = png.write(np.zeros((8, 8, 1), np.uint8))


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "detail"),
    [
        ("/encode", PNG[:45], 400, "undecodable", "the PNG file is corrupt or truncated"),
        ("/encode", b"", 400, "undecodable", "the body is empty"),
        ("/encode?model=gray", PNG, 404, "unknown_model", "did you mean grey?"),
        ("/encode", bytes(100_001), 413, "body_too_large", "100000 bytes"),
        ("/encode", png.write(np.zeros((101, 100, 1), np.uint8)), 413, "too_many_pixels", "at most 10000"),
        ("/encode", b'{"images": [' + b'"",' * 32 + b'""]}', 413, "too_many_items", "33 items, at most 32"),
        ("/encode", b"hello", 415, "unsupported_media_type", "its first bytes are 'hello'"),
        ("/encode?includes=kl", PNG, 422, "invalid_parameter", "did you mean include?"),
        ("/decode", b'{"z": [[1, 2]]}', 422, "unusable_input", "(1, 2), but the model grey takes"),
        ("/sample?n=33", b"", 422, "too_many_items", "n is 33; at most 32 pictures are allowed in one request"),
    ],
    ids=lambda value: "body" if isinstance(value, bytes) else None,
)
async def test_bad_requests_are_told_what_is_wrong(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, code: str, detail: str
) -> None:
    check(await client.post(path, content=body), status, code, detail)


async def test_a_form_of_too_many_parts(client: httpx.AsyncClient) -> None:
    files = [("image", ("a.png", b"x"))] * 53
    check(await client.post("/encode", files=files), 413, "too_many_items", "more than 52 parts")


async def test_a_body_is_refused_by_its_stated_length_or_when_it_gets_too_long(client: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        for _ in range(1000):
            yield bytes(1000)
        raise AssertionError("read to the end")

    check(await client.post("/encode", content=endless()), 413, "body_too_large")


async def test_a_full_queue(client: httpx.AsyncClient, app: FastAPI) -> None:
    with (lane := app.state.service.pipeline.catalog.get("grey").decode).reserve(32), lane.reserve(31):
        answer = await client.post("/sample?n=2")
        check(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client.post("/sample?n=1")).status_code == 200
        assert (await client.post("/encode", content=PNG)).status_code == 200  # another queue


@pytest.mark.parametrize(("headers", "query"), [({}, "timeout_ms=1"), ({"x-timeout-ms": "1"}, "")])
async def test_a_deadline_that_has_passed(app: FastAPI, headers: dict[str, str], query: str) -> None:
    with pytest.raises(DeadlineExceeded):
        await sample(app.state.service, Call(headers, query, b"", started=time.monotonic() - 1))


@pytest.mark.parametrize("stated", ["0", "-1", "1.5", "soon", "²", "", "9" * 400])
async def test_a_timeout_that_is_no_number_of_milliseconds(client: httpx.AsyncClient, stated: str) -> None:
    answer = await client.get("/sample", headers={b"x-timeout-ms": stated.encode("latin-1")})
    check(answer, 422, "invalid_parameter", "X-Timeout-Ms must be a whole number from 1 to 999999999")


async def test_a_closed_device(client: httpx.AsyncClient, app: FastAPI) -> None:
    device = app.state.service.pipeline.catalog.device
    await device.close()
    answer = await client.post("/encode", content=PNG)
    check(answer, 503, "draining")
    assert answer.headers["retry-after"] == "1"


async def test_nothing_there(client: httpx.AsyncClient) -> None:
    check(await client.get("/nothing"), 404, "not_found", "no endpoint at /nothing; /docs lists all endpoints")
    for path, document in (("v2/modelz", "open-inference"), ("diffusers/x/foo", "diffusers"), ("explore/x", "explore")):
        check(await client.get(f"/{path}"), 404, "not_found", f"no endpoint at /{path}; docs/{document}.md ")
    check(await client.get("/models/gray"), 404, "unknown_model", "did you mean grey?")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/encode", {"POST"}),
        ("PUT", "/sample", {"GET", "HEAD", "POST"}),
        ("DELETE", "/models/grey", {"GET"}),
        ("POST", "/health/ready", {"GET"}),
    ],
)
async def test_a_method_that_is_not_allowed(client: httpx.AsyncClient, method: str, path: str, allowed: set[str]) -> None:
    answer = await client.request(method, path)
    problem = check(answer, 405, "method_not_allowed", f"{method} is not allowed at {path}; allowed: ")
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert all(name in problem["detail"] for name in allowed)


@pytest.mark.parametrize(("method", "path"), [("POST", "/encode"), ("GET", "/sample"), ("GET", "/models"), ("GET", "/info")])
async def test_a_defect_is_our_fault_and_says_nothing(
    client: httpx.AsyncClient,
    app: FastAPI,
    method: str,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(app.state, "service", "no service")
    answer = await client.request(method, path, headers={"x-request-id": "find-me"})
    problem = check(answer, 500, "internal_error", "its log has the reason")
    assert "object" not in problem["detail"]
    assert "find-me" in "".join(record.getMessage() for record in caplog.records if record.name == "service.rest.errors")
