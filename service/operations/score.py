"""Items -> how unusual each is: scores, and their p-values where the model has a calibration. Knows nothing of HTTP."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import scores
from models.calibration import Calibration
from models.scores import Array, TrainingLatents
from service.engine.errors import TooLarge
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.kinds.served_kind import Parts
from service.inference.pipeline import Pipeline
from service.inference.priors import VAMP
from service.inference.served_model import Floats, ServedModel
from service.inference.told import labels_of
from service.latents import noise as seeds
from service.operations.admission import Admission
from service.operations.encode import Posteriors
from service.operations.likelihood_bounds import likelihood_bounds
from service.operations.regret import regret

# What needs the training latents of the calibration, and draws from the posterior. What is decoded at mu is the kind's.
NEAR, DRAWN = ("knn", "density"), ("elbo", "iwae")
# More draws than any calibration has: a number above it in a file is not believed.
MOST_SAMPLES = 1000
# Limits of regret, in pictures: of one request, and of all that are optimised at a time.
MOST_REGRET, MOST_REGRETS = 64, 256
HOW_TO_CALIBRATE = (
    "Make one: python -m models.evaluate PATH --calibrate, with the PATH of its directory (and --data DATA, if the model was "
    "not trained by models.train); then load the model again"
)


class NoCalibration(Exception):
    """A score, or something else, that only a model with a calibration has."""

    def __init__(self, model: str, what: str) -> None:
        super().__init__(f"{what}, and the model {model!r} has none that fits its weights. {HOW_TO_CALIBRATE}")


class NoSuchScore(Exception):
    """A score that models of this kind do not have."""

    def __init__(self, model: str, name: str, known: Collection[str]) -> None:
        super().__init__(f"the model {model!r} has no score {name}; it has {', '.join(known)}")


class TooManyLatents(TooLarge):
    """More latents to decode than one request may have."""

    def __init__(self, items: int, each: int, most: int) -> None:
        super().__init__(items * each, most)
        self.items, self.each = items, each

    def __str__(self) -> str:
        items = f"{self.items} item{'s' * (self.items != 1)}"
        most = self.max_rows // self.each
        fewer = f"send at most {most} item{'s' * (most != 1)}, or use fewer samples" if most else "use fewer samples"
        return (
            f"these scores take {items} x {self.each} decoded latents = {self.rows}; at most {self.max_rows} are allowed "
            f"in one request: {fewer}"
        )


class TooManyRegrets(TooLarge):
    """More pictures than one request may have optimised."""

    def __str__(self) -> str:
        return (
            f"the request has {self.rows} pictures, and regret takes at most {self.max_rows} in one request: send at most "
            f"{self.max_rows}"
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of N pictures in the order of `models.scores`; float64."""

    values: Mapping[str, Array]  # name -> (N,)
    p_values: Mapping[str, Array]  # name -> (N,), of those scores that are calibrated
    p_value: Array | None  # (N,); None unless all default scores of a calibration are there
    ess: Array | None = None  # (N,), effective samples of iwae
    parts: Parts = field(default_factory=dict)  # what each part of an item adds to a score of its kind


@dataclass(frozen=True, slots=True)
class Seen:
    """N items as the model saw them, and what the decoder makes of mu."""

    x: NDArray[Any]  # rows (N, ...)
    decoded: Floats


@dataclass(slots=True)
class _Found:
    values: dict[str, Array] = field(default_factory=dict)
    ess: Array | None = None


def default_scores(model: ServedModel) -> tuple[str, ...]:
    """Return the scores of a request that names none: those of the calibration, else those that need none and cost little."""
    return model.kind.default_scores if model.calibration is None else model.calibration.default


def known_scores(model: ServedModel) -> tuple[str, ...]:
    """Return the scores that models of this kind have."""
    kind = model.kind
    return (*NEAR, *kind.at_mu_scores, *DRAWN, *kind.own_scores, *(("regret",) if kind.optimises else ()))


def samples_of(model: ServedModel, asked: int | None) -> int:
    """Return the number of draws for elbo and iwae: as asked, else that of the calibration, else `scores.SAMPLES`."""
    known = None if model.calibration is None else model.calibration.record.get("samples")
    return asked or (known if type(known) is int and 0 < known <= MOST_SAMPLES else scores.SAMPLES)


async def score(
    pipeline: Pipeline,
    regrets: Admission,
    inference: Inference,
    items: RawItems,
    names: Collection[str],
    samples: int,
    seed: int,
) -> Scored:
    """Return the scores of pictures; no names: the default ones. `samples` and `seed` are those of elbo and iwae.

    Everything is admitted before anything is computed: `regrets` bounds the pictures of all requests whose posteriors are
    optimised. Raises NoCalibration, TooManyLatents, TooManyRegrets, ModelChanged, BadInput, BatcherError.
    """
    model, count = inference.model, len(items)
    wanted = frozenset(names or default_scores(model))
    known = known_scores(model)
    if others := sorted(wanted.difference(known)):
        raise NoSuchScore(model.name, others[0], known)
    if model.calibration is None and (near := [name for name in NEAR if name in wanted]):
        raise NoCalibration(model.name, f"the score {near[0]} compares items with the training latents of a calibration")
    drawn, optimised, at_mu = not wanted.isdisjoint(DRAWN), "regret" in wanted, not wanted.isdisjoint(model.kind.at_mu_scores)
    latents = at_mu + drawn * samples  # to decode, of each picture
    _check_size(model, count, latents, optimised)
    learnt = pipeline.catalog.priors[model.name].mixtures.get(VAMP)
    prior = None if learnt is None else TrainingLatents(learnt.means, learnt.scale, 0.0)
    found = _Found()
    with ExitStack() as admitted:
        progress = admitted.enter_context(regrets.admit(count)) if optimised else None
        weighing = admitted.enter_context(model.kind.weighing(pipeline, inference, count * latents)) if latents else None
        originals: list[NDArray[Any]] = []
        posteriors = Posteriors(await pipeline.encode(items, inference, originals))
        x = np.concatenate(originals)  # (N, ...)
        compared = pipeline.offload(_cost(model, wanted, count), partial(_near, model, wanted, posteriors, found))
        if weighing is not None and at_mu:  # While the device decodes, a thread compares latents.
            at = weighing.at_mu(wanted, x, np.ascontiguousarray(posteriors.mu))
            own, _ = await asyncio.gather(at, compared)
            found.values |= own
        else:
            await compared
        if weighing is not None and drawn:
            eps = seeds.standard_normal(seed, samples, model.latent_dim)
            asked = labels_of(model, inference.label)
            labels = None if asked is None else np.broadcast_to(asked, count)
            bounds = await likelihood_bounds(pipeline, weighing.log_likelihood, x, posteriors, prior, eps, labels)
            found.values |= {"elbo": bounds.elbo, "iwae": bounds.iwae}
            found.ess = bounds.ess if "iwae" in wanted else None
        if progress is not None:
            found.values["regret"] = await regret(pipeline, inference, x, posteriors, seed, progress)
    parts = await model.kind.score(pipeline, inference, x) if not wanted.isdisjoint(model.kind.own_scores) else {}
    found.values |= {name: np.array([own.sum() for own in each]) for name, each in parts.items()}
    values = {name: found.values[name] for name in scores.UNITS if name in wanted}
    return Scored(values, *_p_values(model.calibration, values, samples), found.ess, parts)


async def compare(pipeline: Pipeline, inference: Inference, items: RawItems) -> Seen:
    """Return items and what the decoder makes of mu. Raises BadInput, BatcherError."""
    originals: list[NDArray[Any]] = []
    with inference.model.kind.decoding(inference, len(items)) as decode:
        rows = await pipeline.encode(items, inference, originals)
        decoded = await decode(np.ascontiguousarray(rows[:, 0]))
    return Seen(np.concatenate(originals), decoded)


def _check_size(model: ServedModel, count: int, latents: int, optimised: bool) -> None:
    """Refuse what no request may ask for. Raises TooManyLatents, TooManyRegrets."""
    most = model.decode.max_rows
    if optimised and count > MOST_REGRET:
        raise TooManyRegrets(count, MOST_REGRET)
    if count <= most < count * latents:  # Too many pictures are refused as everywhere.
        raise TooManyLatents(count, latents, most)


def _cost(model: ServedModel, wanted: Collection[str], count: int) -> int:
    """Return how long `_near` takes, as the number of bytes that `Offload` wants."""
    latents = 0 if model.calibration is None else model.calibration.mu.nbytes // 16
    return count * latents * len([name for name in NEAR if name in wanted])


def _near(model: ServedModel, wanted: Collection[str], posteriors: Posteriors, found: _Found) -> None:
    """Add the scores that compare the posteriors with the training latents."""
    if model.calibration is not None:
        latents = model.calibration.latents
        if "knn" in wanted:
            found.values["knn"] = latents.knn_distance(posteriors.mu)
        if "density" in wanted:
            found.values["density"] = -latents.log_density(posteriors.mu)


def _p_values(
    calibration: Calibration | None, values: Mapping[str, Array], samples: int
) -> tuple[Mapping[str, Array], Array | None]:
    """Return the p-values of scores, and those of the default scores together, None where they are not all there.

    Bounds of another number of samples than that of the calibration are other scores, and have none.
    """
    if calibration is None:
        return {}, None
    same = samples == calibration.record.get("samples")
    found = calibration.p_values({name: value for name, value in values.items() if same or name not in DRAWN})
    complete = all(name in found for name in calibration.default)
    return found, calibration.overall(found) if complete else None
