"""Random items of every kind, each alone, in requests of several sizes and in a crowd: the same numbers, in both engines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch

import models
from models import VAE, VAEConfig
from models.calibration import write_calibration
from models.condition import Condition
from service.app import create_app
from service.formats.npy import npy
from service.settings import Settings
from tests.service.conftest import calibration_of_grey
from tests.service.kinds.kind_requests import ADELIE

pytestmark = pytest.mark.asyncio(loop_scope="module")  # a loop of its own: one loop ends one application only

PATIENCE = 60.0
ITEMS = 64
SIZES = (2, 3, 17, ITEMS)  # items of a request that has several
FEW = 17  # items of what is slow
NOISE = np.random.default_rng(0)
LETTERS = " etaoinshrdlu.-"


def text() -> str:
    return "".join(NOISE.choice(list(LETTERS), int(NOISE.integers(1, 21))))


def drawing() -> list[list[int]]:
    count = int(NOISE.integers(1, 24))
    points = np.column_stack([NOISE.integers(-60, 60, (count, 2)), NOISE.random(count) < 0.2])
    return [[int(value) for value in point] for point in points]


def row() -> dict[str, Any]:
    bill, mass = float(NOISE.uniform(33, 59)), int(NOISE.integers(2700, 6300))
    full = {**ADELIE, "bill_length_mm": bill, "body_mass_g": mass, "sex": str(NOISE.choice(["male", "female"]))}
    return {name: value for name, value in full.items() if NOISE.random() < 0.8} or {"body_mass_g": mass}


def picture() -> Any:
    return NOISE.integers(0, 256, (8, 8), np.uint8)


def of_pictures(items: list[Any]) -> dict[str, Any]:
    return {"content": npy(np.stack(items)), "headers": {"content-type": "application/x-npy"}}


class Asked(NamedTuple):
    """Random items of a kind, how a request has them, and what is asked about them."""

    body: Callable[[list[Any]], dict[str, Any]]
    items: list[Any]
    paths: tuple[str, ...]  # asked about one item and about several
    only_one: tuple[str, ...]  # asked about one item: the answer to several is large, or has noise by place


SCORES = "elbo,iwae&samples=3&seed=2"
ASKED = {
    "lines": Asked(
        lambda items: {"json": {"texts": items}}, [text() for _ in range(ITEMS)],
        ("/encode?", f"/score?scores=nll,{SCORES}"), ("/reconstruct?", "/complete?seed=3&n=2"),
    ),
    "strokes": Asked(
        lambda items: {"json": {"strokes": items}}, [drawing() for _ in range(ITEMS)],
        ("/encode?", f"/score?scores=nll,{SCORES}"), ("/reconstruct?", "/complete?seed=3&n=2"),
    ),
    "penguins": Asked(
        lambda items: {"json": {"rows": items}}, [row() for _ in range(ITEMS)],
        ("/encode?", f"/score?scores=surprise,nll,deviance,{SCORES}"),
        ("/reconstruct?cells=all", "/reconstruct?pixels=sample&seed=4&cells=all"),
    ),
    "calibrated": Asked(
        of_pictures, [picture() for _ in range(ITEMS)],
        ("/encode?", f"/score?scores=knn,density,reconstruction,unexplained,deviance,{SCORES}"),
        ("/reconstruct?format=npy", "/compress?"),
    ),
    "told": Asked(
        of_pictures, [picture() for _ in range(ITEMS)],
        ("/encode?label=7", f"/score?label=7&scores=reconstruction,unexplained,deviance,{SCORES}"),
        ("/reconstruct?label=7&format=npy", "/reconstruct?label=7&format=npy&pixels=sample&seed=1"),
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def every_kind(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tiny models, and with them "told", which is conditional, and "calibrated"."""
    directory = tmp_path_factory.mktemp("every_kind")
    for name in ("penguins", "strokes", "lines"):
        (directory / name).symlink_to(kinds / name)
    torch.manual_seed(0)
    conv, shape = {"channels": [4, 8], "hidden": 16}, Condition("shape", ("round", "7"), (5, 1))
    models.save(directory / "told", VAE(VAEConfig((1, 8, 8), 3, "conv", conv, "gaussian", {"sigma": 0.1}, condition=shape)))
    models.save(directory / "calibrated", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    write_calibration(directory / "calibrated", calibration_of_grey(), models.checkpoint.read(directory / "calibrated").digest)
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["onnx", "torch"])
async def caller(request: pytest.FixtureRequest, every_kind: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Calls an application that computes with one of the engines."""
    app = create_app(Settings(models_dir=every_kind, default_model="told", device="cpu", threads=1, engine=request.param))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.mark.parametrize("model", ASKED)
async def test_the_same_numbers_alone_and_in_company(caller: httpx.AsyncClient, model: str) -> None:
    body, items, paths, only_one = ASKED[model]
    for path in (*paths, *only_one):

        async def ask(some: list[Any], path: str = path) -> httpx.Response:
            answer = await caller.post(f"{path}&model={model}", **body(some))
            assert answer.status_code == 200, answer.text
            return answer

        each = [[item] for item in (items if path in paths else items[:FEW])]
        alone = [await ask(item) for item in each]
        together = await asyncio.gather(*map(ask, each))
        assert [answer.content for answer in together] == [answer.content for answer in alone], path
        for size in SIZES if path in paths else ():
            for first in range(0, ITEMS - size + 1, size):
                several = (await ask(items[first : first + size])).json()
                for i in range(size):
                    assert of_item(several, i, size) == of_item(alone[first + i].json(), 0, 1), f"{path} {size}: {first + i}"


def of_item(answer: Any, item: int, count: int) -> Any:
    """Return the part of a JSON answer about `count` items that is about one of them."""
    if isinstance(answer, dict):
        return {name: of_item(value, item, count) for name, value in answer.items() if name != "warnings"}
    return answer[item] if isinstance(answer, list) and len(answer) == count else answer
