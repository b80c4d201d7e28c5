"""Text out of files and requests on its way into answers and the log: no half of a surrogate pair, no NaN, no new line."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from service.app import create_app
from service.observe.printable import header_value, one_line
from service.settings import Settings
from tests.service.rest.test_errors import check

TEXT = st.text(st.characters(exclude_categories=()))
# half a pair, in the two ways of JSON to spell it, and numbers and depths that JSON readers take and writers do not
ODD = '{"a": ["\\ud800", NaN, -Infinity, 1e999, %s], "\\udfff": {"\\ud83d\\ude00": 1}, "kl_per_dim": ["\\ud800", 1, 2]}'
DEEP = "[" * 300 + "]" * 300


@given(TEXT)
def test_one_line_is_printable_and_leaves_what_is(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    line.encode()
    assert line == text or not text.isprintable()


@given(TEXT)
def test_a_header_is_visible_ascii(text: str) -> None:
    value = header_value(text)
    assert len(value) == len(text)
    assert all(" " <= one <= "~" for one in value)


@pytest.fixture
async def odd(weights: Path, tmp_path: Path) -> FastAPI:
    """An application whose one model has a card that was made by somebody else."""
    directory = tmp_path / "models" / "grey"
    shutil.copytree(weights / "grey", directory)
    (directory / "metrics.json").write_text(ODD % DEEP)
    config = json.loads((directory / "config.json").read_bytes())
    broken = tmp_path / "models" / "broken"
    broken.mkdir()
    config["model"]["\ud800\n\x1b[2J"] = 1
    (broken / "config.json").write_text(json.dumps(config))
    shutil.copy(weights / "grey" / "model.safetensors", broken)
    store = str(tmp_path / "latents.db")
    bounds: dict[str, Any] = {"max_batch": 16, "device": "cpu", "threads": 1, "admin": True}
    return create_app(Settings(models_dir=directory.parent, models=("grey",), default_model="grey", store=store, **bounds))


async def test_cards_and_errors_of_files_are_answered(odd: FastAPI) -> None:
    async with odd.router.lifespan_context(odd):
        await odd.state.started.wait()
        assert odd.state.failure == ""
        transport = httpx.ASGITransport(odd, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            (model,) = (await client.get("/models")).raise_for_status().json()["models"]
            assert (await client.get("/models/grey")).raise_for_status().json() == model
            assert model["metrics"]["a"][:4] == ["\ufffd", None, None, None]
            assert model["metrics"]["\ufffd"] == {"\U0001f600": 1}
            (await client.get("/openapi.json")).raise_for_status()
            refused = check(await client.post("/admin/models/broken/load"), 422, "unusable_model", "\\ud800\\n\\x1b[2J")
            assert refused["detail"].isprintable()
            (await client.put("/collections/some")).raise_for_status()
            for path in ("/a%0Ab", "/a%1B%5B2J", "/collections/some/items/a%C2%85b", "/models/a%E2%80%A8b"):
                answer = await client.get(path)
                assert answer.status_code in (404, 422)
                assert answer.json()["detail"].isprintable()
