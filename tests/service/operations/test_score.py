"""Scores of pictures without HTTP: against independent computations, alone and in company, and what they refuse."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi import FastAPI
from numpy.typing import NDArray

import models
from models import regret as steps
from models.calibration import CALIBRATION
from models.scores import UNITS
from service.app import create_app
from service.engine.errors import DeadlineExceeded, Overloaded, TooLarge
from service.engine.lane import BatchReport, Lane
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents import noise as seeds
from service.operations import likelihood_bounds
from service.operations.score import (
    NoCalibration,
    Scored,
    TooManyLatents,
    TooManyRegrets,
    compare,
    known_scores,
    samples_of,
    score,
)
from service.operations.service import Service
from service.settings import Settings
from tests.service.conftest import PATIENCE, calibration_of_grey

Bytes = NDArray[np.uint8]


@pytest.fixture(params=["standard", "vamp"])
def weights(request: pytest.FixtureRequest, weights: Path, tmp_path: Path) -> Path:
    """The small models; with another prior, "grey" has no calibration."""
    if request.param == "standard":
        return weights
    torch.manual_seed(1)
    config = models.VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, prior="vamp", prior_options={"pseudo_inputs": 2})
    models.save(tmp_path / "grey", models.VAE(config))
    return tmp_path


@pytest.fixture
async def app(weights: Path, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application with room for the latents of many draws."""
    settings = Settings(
        models_dir=weights,
        device="cpu",
        threads=1,
        max_batch=16,
        max_queue_rows=4096,
        max_rows=2048,
        store=str(tmp_path / "latents.db"),
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        yield app


async def batches(lane: Lane, count: int) -> None:
    """Wait until a lane has run so many more batches."""
    loop, ran = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def count_one(_: BatchReport) -> None:
        loop.call_soon_threadsafe(ran.release)

    lane.watch = count_one
    for _ in range(count):
        await ran.acquire()


def scored(service: Service, inference: Inference, x: Bytes, *names: str, samples: int = 8, seed: int = 0) -> Any:
    return score(service.pipeline, service.regrets, inference, RawItems(rows=x), names, samples, seed)


async def numbers(service: Service, inference: Inference, x: Bytes, *names: str, **more: int) -> dict[str, NDArray[Any]]:
    found: Scored = await scored(service, inference, x, *names, **more)
    return dict(found.values)


def bounds(vae: models.VAE, x: Bytes, eps: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """ELBO and importance-weighted bound of each picture, from the model itself."""
    floats, found = torch.from_numpy(x) / 255, []
    posterior = vae.encode(floats)
    with torch.no_grad():
        for noise in torch.from_numpy(eps):
            z = posterior.sample(noise.expand(len(x), -1))
            found.append((vae.decode(z).log_prob(floats) + vae.prior(z).log_prob(z) - posterior.log_prob(z)).double())
    weights = torch.stack(found)
    return weights.mean(0).numpy(), (torch.logsumexp(weights, 0) - math.log(len(eps))).numpy()


async def test_reconstructions(service: Service, inference: Inference, weights: Path, x: Bytes) -> None:
    found = await numbers(service, inference, x, "reconstruction", "unexplained", "deviance")
    vae, floats = models.load(weights / "grey"), torch.from_numpy(x) / 255
    likelihood = vae.decode(vae.encode(floats).mu)
    square = (floats - likelihood.mean).square().flatten(1).sum(1)
    assert found["reconstruction"] == pytest.approx(square.numpy(), rel=1e-4)
    assert found["unexplained"] == pytest.approx((square / floats.flatten(1).var(1, correction=0) / 64).numpy(), rel=1e-4)
    entropy = torch.special.entr(floats) + torch.special.entr(1 - floats)
    assert found["deviance"] == pytest.approx((-likelihood.log_prob(floats) - entropy.flatten(1).sum(1)).numpy(), rel=1e-3)
    assert list(found) == [name for name in UNITS if name in found]


async def test_bounds_of_the_likelihood(service: Service, inference: Inference, weights: Path, x: Bytes) -> None:
    found = await numbers(service, inference, x, "elbo", "iwae", samples=400)
    elbo, iwae = bounds(models.load(weights / "grey"), x, seeds.standard_normal(1, 4000, 3))
    assert found["elbo"] == pytest.approx(elbo, abs=0.5)
    assert found["iwae"] == pytest.approx(iwae, abs=0.3)
    elbo, iwae = bounds(models.load(weights / "grey"), x, seeds.standard_normal(0, 400, 3))  # the same noise
    assert found["elbo"] == pytest.approx(elbo, abs=1e-3)
    assert found["iwae"] == pytest.approx(iwae, abs=1e-3)
    assert (found["elbo"] < found["iwae"]).all()
    one = await numbers(service, inference, x, "elbo", "iwae", samples=1)
    assert one["elbo"] == pytest.approx(one["iwae"], abs=1e-9)


async def test_many_draws_of_one_picture_are_decoded_in_blocks(
    service: Service, inference: Inference, x: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await numbers(service, inference, x, "elbo", "iwae", samples=50)
    monkeypatch.setattr(likelihood_bounds, "BLOCK_ROWS", 20)
    sizes, compute = [], likelihood_bounds._log_weights

    def watched(*given: Any) -> Any:
        sizes.append(given[-1].shape[1])
        return compute(*given)

    monkeypatch.setattr(likelihood_bounds, "_log_weights", watched)
    parts = await numbers(service, inference, x, "elbo", "iwae", samples=50)
    assert sizes == [20, 20, 10] * len(x)
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values)


async def test_regret_is_that_of_the_models(service: Service, inference: Inference, weights: Path, x: Bytes) -> None:
    found = await numbers(service, inference, x, "regret")
    eps = torch.from_numpy(seeds.standard_normal(0, steps.HELD + steps.STEPS, 3))
    wanted = steps.regret(models.load(weights / "grey"), torch.from_numpy(x) / 255, eps)
    assert found["regret"] == pytest.approx(wanted.numpy(), abs=0.05)


async def test_the_same_alone_and_in_company(service: Service, inference: Inference, x: Bytes) -> None:
    known = known_scores(inference.model)
    names = [name for name in known if inference.model.calibration is not None or name not in ("knn", "density")]
    company, _ = await asyncio.gather(scored(service, inference, x, *names), scored(service, inference, x[::-1], *names))
    for i in range(len(x)):
        alone = await scored(service, inference, x[i : i + 1], *names)
        for name in names:
            np.testing.assert_array_equal(alone.values[name], company.values[name][i : i + 1], name)
        np.testing.assert_array_equal(alone.ess, company.ess[i : i + 1])
        for name, values in alone.p_values.items():
            np.testing.assert_array_equal(values, company.p_values[name][i : i + 1], name)
    others = await numbers(service, inference, x, "elbo", "iwae", "regret", seed=1)
    assert all((others[name] != company.values[name]).all() for name in others)


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_p_values_count_the_held_out(service: Service, inference: Inference, x: Bytes) -> None:
    found, known = await scored(service, inference, x), calibration_of_grey()
    assert list(found.values) == ["knn", "deviance"]
    mu = (await service.pipeline.encode(RawItems(rows=x), inference))[:, 0].astype(np.float64)
    nearest = [sorted(np.sqrt(np.square(known.mu - z).sum(1)))[4] for z in mu]
    assert found.values["knn"] == pytest.approx(nearest, rel=1e-6)
    for name, values in found.values.items():
        assert found.p_values[name].tolist() == [(1 + (known.held_out[name] >= value).sum()) / 100 for value in values]
    smallest = np.minimum(found.p_values["knn"], found.p_values["deviance"])
    assert found.p_value.tolist() == [(1 + (known.smallest <= p).sum()) / 100 for p in smallest]
    part = await scored(service, inference, x, "knn", "density", "regret")
    assert (list(part.p_values), part.p_value) == (["knn"], None)


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_bounds_have_p_values_only_for_the_samples_of_the_calibration(
    service: Service, inference: Inference, x: Bytes
) -> None:
    assert (samples_of(inference.model, None), samples_of(inference.model, 5)) == (8, 5)
    assert samples_of(replace(inference.model, calibration=None), None) == 16
    assert (await scored(service, inference, x, "elbo", "iwae", samples=8)).p_values.keys() == {"elbo", "iwae"}
    assert not (await scored(service, inference, x, "elbo", "iwae", samples=5)).p_values


@pytest.mark.parametrize("weights", ["vamp"], indirect=True)
async def test_without_a_calibration(service: Service, inference: Inference, weights: Path, x: Bytes) -> None:
    assert not (weights / "grey" / CALIBRATION).exists()
    found = await scored(service, inference, x)
    assert (list(found.values), dict(found.p_values), found.p_value) == (["reconstruction", "deviance"], {}, None)
    for name in ("knn", "density"):
        with pytest.raises(
            NoCalibration,
            match=f"the score {name} .* has none that fits its weights. Make one: python -m models",
        ):
            await scored(service, inference, x, name)


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_too_much_is_refused_before_anything_is_computed(service: Service, inference: Inference, x: Bytes) -> None:
    many = np.repeat(x, 5, 0)
    with pytest.raises(TooManyLatents, match=r"5 items x 501 decoded latents = 2505; at most 2048 .* send at most 4 items"):
        await scored(service, inference, x, "elbo", "deviance", samples=500)
    with pytest.raises(TooManyLatents, match=r"1 item x 3000 decoded latents .*: use fewer samples"):
        await scored(service, inference, x[:1], "elbo", samples=3000)
    with pytest.raises(TooLarge, match="the request has 2050 items"):
        await scored(service, inference, np.repeat(x, 410, 0), "deviance")
    with pytest.raises(TooManyRegrets, match="has 75 pictures, and regret takes at most 64 in one request: send at most 64"):
        await scored(service, inference, np.repeat(many, 3, 0), "regret")
    with (
        service.regrets.admit(253),
        pytest.raises(Overloaded, match=r"the places of regret \(256 pictures at a time\) are taken"),
    ):
        await scored(service, inference, x, "regret")
    stats = [lane.stats.rows for lane in inference.model.lanes.values()]
    assert stats == [0] * len(stats)
    assert [lane.queued_rows for lane in inference.model.lanes.values()] == [0] * len(stats)


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_regret_stops_at_its_deadline_and_when_its_caller_leaves(
    service: Service, inference: Inference, x: Bytes
) -> None:
    lane = await inference.model.regret.get()
    assert inference.model.lanes["regret"] is lane
    once = asyncio.ensure_future(scored(service, inference, x, "regret"))
    await batches(lane, 3)
    once.cancel()
    with pytest.raises(asyncio.CancelledError):
        await once
    inference.deadline = time.monotonic() + 1000
    late = asyncio.ensure_future(scored(service, inference, x, "regret"))
    await batches(lane, 3)
    inference.deadline = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await late
    assert (service.regrets.rows, lane.queued_rows, inference.model.decode.queued_rows) == (0, 0, 0)
    assert lane.stats.batches < steps.STEPS


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_others_get_their_turns_between_two_steps(service: Service, inference: Inference, x: Bytes) -> None:
    lane = await inference.model.regret.get()
    optimised, waited = asyncio.ensure_future(scored(service, inference, x, "regret")), []
    while not optimised.done():
        before = lane.stats.batches
        await inference.model.encode.submit(x[:1])
        waited.append(lane.stats.batches - before)
    await optimised
    assert len(waited) > steps.STEPS // 2
    assert max(waited) <= 3


@pytest.mark.parametrize("weights", ["standard"], indirect=True)
async def test_pictures_beside_what_the_decoder_makes_of_them(pipeline: Pipeline, inference: Inference, x: Bytes) -> None:
    seen = await compare(pipeline, inference, RawItems(rows=x))
    np.testing.assert_array_equal(seen.x, x)
    mu = np.ascontiguousarray((await pipeline.encode(RawItems(rows=x), inference))[:, 0])
    np.testing.assert_array_equal(seen.decoded, await pipeline.through(inference.model.decode, mu, inference))
