"""Checks problem bodies (RFC 9457, and our additional keys)."""

from http import HTTPStatus
from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """The body of an answer that must be this problem, with these words in its detail."""
    found = answer.status_code, answer.headers["content-type"]
    assert found == (status, "application/problem+json"), (found, answer.text)
    body: dict[str, Any] = answer.json()
    assert body.keys() - {"item"} == {"type", "title", "status", "detail", "code", "error", "request_id"}, body
    assert (body["status"], body["title"], body["code"]) == (status, HTTPStatus(status).phrase, code), body
    assert body["type"].endswith(code), body
    assert body["detail"], body
    assert body["error"].startswith(code), body
    assert "\n" not in body["error"], body
    assert body["request_id"] == answer.headers["x-request-id"] != "", body
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    for word in words:
        assert word in body["detail"], body["detail"]
    return body
