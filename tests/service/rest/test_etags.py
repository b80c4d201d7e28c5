"""Entity tags: equal ones are equal bytes, a good copy is not computed again, and draws without a seed have none."""

import shutil
from pathlib import Path

import httpx
import pytest
import torch
from fastapi import FastAPI

from models.checkpoint import read
from models.mixture import GaussianMixture, write_prior
from service.engine.lane import Lane

PATH = "/sample?n=2&seed=5"


@pytest.fixture(scope="module")
def weights(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, in which a test may put another mixture."""
    return shutil.copytree(weights, tmp_path_factory.mktemp("copy") / "weights")


def decode_of(app: FastAPI, name: str = "grey") -> Lane:
    lane: Lane = app.state.service.pipeline.catalog.get(name).decode
    return lane


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["json", "npy", "png"])
async def test_a_good_copy_is_not_sent_again(client: httpx.AsyncClient, app: FastAPI, form: str, method: str) -> None:
    path = f"{PATH}&format={form}"
    first = (await client.request(method, path)).raise_for_status()
    tag = first.headers["etag"]
    assert (first.headers["vary"], first.headers["cache-control"]) == ("accept", "no-cache")
    assert tag.startswith('"')
    assert tag.endswith('"')
    before = decode_of(app).stats.batches
    for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.request(method, path, headers={"if-none-match": wanted})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["x-model"] == first.headers["x-model"]
        assert again.headers["vary"] == "accept"
        assert again.headers["x-request-id"]
        assert not {"content-length", "content-type"} & again.headers.keys()
    assert decode_of(app).stats.batches == before
    for wanted in ('"other"', tag.strip('"'), "", '"' + tag):
        assert (await client.request(method, path, headers={"if-none-match": wanted})).status_code == 200


async def test_a_tag_is_of_all_that_an_answer_depends_on(client: httpx.AsyncClient) -> None:
    paths = [
        PATH,
        "/sample?n=2&seed=6",
        "/sample?n=3&seed=5",
        f"{PATH}&temperature=0.5",
        f"{PATH}&include=z",
        f"{PATH}&format=npy",
        f"{PATH}&format=npy&dtype=float32",
        f"{PATH}&format=png",
        f"{PATH}&format=png&layout=row",
        f"{PATH}&model=colour",
        f"{PATH}&prior=standard",
        f"{PATH}&pixels=sample",
        f"{PATH}&label=7",
        f"{PATH}&label=cat",
    ]
    answers = [(await client.get(path)).raise_for_status() for path in paths]
    assert len({answer.headers["etag"] for answer in answers}) == len(paths)
    for same in (
        f"{PATH}&model=grey",
        f"{PATH}&timeout_ms=60000",
        "/sample?seed=5&n=2",
        f"{PATH}&format=json",
        f"{PATH}&prior=aggregate",
    ):
        answer = await client.get(same)
        assert (answer.headers["etag"], answer.content) == (answers[0].headers["etag"], answers[0].content), same
    by_accept = await client.get(PATH, headers={"accept": "image/png"})
    assert (by_accept.headers["etag"], by_accept.content) == (answers[7].headers["etag"], answers[7].content)


async def test_another_mixture_is_another_tag(client: httpx.AsyncClient, app: FastAPI, weights: Path) -> None:
    path = PATH  # draws from the mixture by default
    before = (await client.get(path)).headers["etag"]
    mixture = GaussianMixture(torch.tensor([1.0]), torch.zeros(1, 3), torch.eye(3)[None])
    write_prior(weights / "grey", mixture, read(weights / "grey").digest, {})
    await app.state.service.pipeline.catalog.replace("grey")
    answer = await client.get(path, headers={"if-none-match": before})
    assert (answer.status_code, answer.headers["etag"] == before) == (200, False)


async def test_what_was_drawn_without_a_seed_is_not_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/sample?n=2", headers={"if-none-match": "*"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in answer.headers
    posted = await client.post(PATH, headers={"if-none-match": "*"})
    assert (posted.status_code, "etag" in posted.headers) == (200, False)


async def test_a_bad_request_is_told_so_whatever_copy_it_has(client: httpx.AsyncClient) -> None:
    for query, status in (("n=33", 422), ("n=0", 422), ("prior=vamp", 422), ("label=8", 422), ("model=gray", 404)):
        answer = await client.get(f"/sample?seed=5&{query}", headers={"if-none-match": "*"})
        assert (answer.status_code, "etag" in answer.headers) == (status, False)
