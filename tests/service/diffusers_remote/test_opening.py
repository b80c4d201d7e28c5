"""The model and the deadline of a request."""

import pytest
from fastapi import FastAPI

from service.diffusers_remote.opening import opened
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.http.call import Call
from service.operations.shaped import NoLatentShape

KNOWN = ("timeout_ms",)


@pytest.mark.parametrize(
    ("query", "header", "seconds"),
    [("", "", None), ("timeout_ms=1500", "", 1.5), ("", "250", 0.25), ("timeout_ms=1500", "250", 1.5)],
)
async def test_the_deadline_is_that_of_the_query_or_the_header(
    app: FastAPI, query: str, header: str, seconds: float | None
) -> None:
    seen: list[float | None] = []
    headers = {"x-timeout-ms": header} if header else {}
    call = Call(headers, query, b"", started=100.0, path={"model": "grey"}, limit=seen.append)
    with pytest.raises(NoLatentShape, match=r"the latents of 'grey' are flat, .*: none is loaded"):
        opened(app.state.service, call, ClientQuery(query, KNOWN))
    assert seen == [None if seconds is None else 100 + seconds]


@pytest.mark.parametrize("header", ["0", "-1", "soon", "1.5", "9" * 10])
async def test_a_header_that_is_no_number_of_milliseconds_is_refused(app: FastAPI, header: str) -> None:
    call = Call({"x-timeout-ms": header}, "", b"", path={"model": "grey"})
    with pytest.raises(UnusableQuery, match="X-Timeout-Ms must be a whole number from 1 to 999999999, not "):
        opened(app.state.service, call, ClientQuery("", KNOWN))
