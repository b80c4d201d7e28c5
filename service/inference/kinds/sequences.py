"""Drawings and texts: lanes that encode and weigh rows by their length, and a lane that makes a few steps at a time.

Knows nothing of HTTP.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint, Manifest
from models.kinds import strokes, text
from models.scores import Array
from service.engine.device import Device
from service.engine.lane import Lane
from service.engine.reservation import Reservation
from service.inference.kinds.rows import ServedRows
from service.inference.kinds.sequence_lanes import STEPS, Layout, bucket_lengths, start_lanes
from service.inference.kinds.served_kind import Decode, Floats
from service.inference.stepping import Stepping
from service.inference.told import labels_of
from service.latents import noise as seeds

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

# The noise of so many steps is drawn at a time.
NOISE_STEPS = 16 * STEPS
# The noise of so many items is drawn before others get a turn.
NOISE_ITEMS = 64


class ServedSequences(ServedRows):
    """A model of sequences. Rows: (T, ...) up to the longest; decoded: rows, cut to the longest of them."""

    steps = True
    at_mu_scores = default_scores = ("nll",)

    def __init__(self, manifest: Manifest, lanes: Mapping[str, Lane], layout: Layout) -> None:
        """Take the lanes, and the layout of their rows."""
        self.layout, self._lengths = layout, bucket_lengths(manifest.model.shape[0])
        super().__init__(manifest, lanes, layout.blank(1, 1))
        self.begun = layout.begun  # the first steps of something that the model has made, to be continued

    @classmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedSequences":
        lanes, layout = await start_lanes(name, checkpoint, device)
        return cls(checkpoint.manifest, lanes, layout)

    async def posteriors(self, rows: NDArray[Any], inference: "Inference") -> Floats:
        refuse_label(inference)
        found = np.empty((len(rows), 3, self.manifest.model.latent_dim), np.float32)
        with ExitStack() as admitted:
            waiting = []
            for length, where in self._by_length(rows).items():
                lane = admitted.enter_context(self.lanes[f"encode_{length}"].reserve(len(where)))
                waiting.append((where, lane, self._cut(rows[where], length)))
            submitted = [lane.submit(block, inference.deadline) for _, lane, block in waiting]
            for (where, lane, _), answer in zip(waiting, await gathered(submitted), strict=True):
                found[where] = answer
                inference.timings.add(lane)
        return found

    @contextmanager
    def decoding(self, inference: "Inference", count: int) -> Iterator[Decode]:
        refuse_label(inference)
        with self.lanes["decode"].reserve(count, again=True) as reservation:
            yield partial(self._make, reservation, inference)
        inference.timings.add(reservation)

    async def _make(self, reservation: Reservation, inference: "Inference", z: Floats) -> NDArray[Any]:
        """Return rows that are made step by step of latents (N, D): (N, T, ...)."""
        state: Floats = await self.lanes["begin"].submit(z, inference.deadline)
        stepping, layout = inference.stepping, self.layout
        most = min(stepping.max_length or layout.max_length, layout.max_length)
        made, alive, longest = layout.blank(len(z), -(-most // STEPS) * STEPS), np.arange(len(z)), 0
        begun = layout.blank(len(z), 0) if stepping.begun is None else stepping.begun
        previous = layout.blank(len(z), 1)
        uniforms = np.zeros((0, 0, layout.noise), np.float32)
        for place in range(0, most, STEPS):
            if place % NOISE_STEPS == 0:
                uniforms = await self._noise(stepping, alive, place)
            own = uniforms[:, place % NOISE_STEPS :][:, :STEPS]
            given = layout.blank(len(alive), STEPS)
            part = begun[alive, place : place + STEPS]
            given[:, : part.shape[1]] = part
            rows = layout.pack(state, previous, own, stepping.temperature, given)
            state, steps = layout.unpack(await reservation.submit(rows, inference.deadline))
            made[alive, place : place + STEPS] = steps
            longest = place + STEPS
            going_on = state[:, -1] == 0
            if not going_on.any():
                break
            alive, state, previous, uniforms = alive[going_on], state[going_on], steps[going_on, -1:], uniforms[going_on]
        return made[:, : min(longest, most)]

    async def _noise(self, stepping: Stepping, items: NDArray[np.int64], place: int) -> Floats:
        """Return the uniform noise of the next steps of some items, (n, NOISE_STEPS, noise). Others get turns in between."""
        if not stepping.temperature:
            return np.zeros((len(items), NOISE_STEPS, self.layout.noise), np.float32)
        own = items if stepping.items is None else stepping.items[items]
        found = np.empty((len(items), NOISE_STEPS, self.layout.noise), np.float32)
        for first in range(0, len(items), NOISE_ITEMS):
            part = slice(first, first + NOISE_ITEMS)
            if stepping.seeds is not None:
                for row, seed in enumerate(stepping.seeds[items[part]].tolist(), first):
                    found[row] = seeds.step_uniform(seed, np.zeros(1, np.int64), place, NOISE_STEPS, self.layout.noise)[0]
            else:
                found[part] = seeds.step_uniform(stepping.seed, own[part], place, NOISE_STEPS, self.layout.noise)
            await asyncio.sleep(0)
        return found

    @contextmanager
    def weighing(self, pipeline: "Pipeline", inference: "Inference", count: int) -> Iterator["StepWeighing"]:
        yield StepWeighing(self, inference)

    async def log_likelihoods(self, x: NDArray[Any], z: Floats, inference: "Inference") -> Array:
        """Return log p(x given z) in nats, (N,), of rows x (N, T, ...) and latents z (N, D). Raises BatcherError."""
        found = np.empty(len(x))
        for length, where in self._by_length(x).items():
            lane = self.lanes[f"weigh_{length}"]
            rows = np.concatenate([z[where], self._cut(x[where], length).reshape(len(where), -1)], 1, dtype=np.float32)
            blocks = [rows[first : first + lane.max_rows] for first in range(0, len(rows), lane.max_rows)]
            answers = [await lane.submit(block, inference.deadline) for block in blocks]
            is_own = np.arange(length + 1) <= self.step_counts(x[where])[:, None]  # up to the end of the row
            found[where] = np.where(is_own, np.concatenate(answers), 0.0).sum(1, dtype=np.float64)
        return found

    def draw(self, decoded: Floats, seed: int) -> Floats:
        raise NotImplementedError("steps are drawn with a temperature when a sequence is made: see Stepping")

    def nats(self, decoded: Floats, x: NDArray[Any]) -> Floats:
        raise NotImplementedError("log p(x given z) of a sequence needs z: see log_likelihoods")

    def step_counts(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        return strokes.lengths(rows) if rows.ndim == 3 else text.lengths(rows)

    def golden_mean(self, decoded: Floats) -> Floats:
        return self._cut(decoded, self.layout.max_length)

    def _by_length(self, rows: NDArray[Any]) -> dict[int, NDArray[np.int64]]:
        """Return which of some rows have which bucket of lengths: that of a row depends on nothing else."""
        own = self.step_counts(rows)
        buckets = np.array(self._lengths)[np.searchsorted(self._lengths, own)]
        return {int(length): np.flatnonzero(buckets == length) for length in np.unique(buckets)}

    def _cut(self, rows: NDArray[Any], length: int) -> NDArray[Any]:
        """Return rows with so many steps, (N, length, ...), which are all that they have."""
        if rows.shape[1] >= length:
            return np.ascontiguousarray(rows[:, :length])
        return np.concatenate([rows, self.layout.blank(len(rows), length - rows.shape[1])], 1)


class StepWeighing:
    """A `Weighing` by lanes that give log p(x given z)."""

    def __init__(self, kind: ServedSequences, inference: "Inference") -> None:
        """Weigh rows with a model."""
        self._kind, self._inference = kind, inference

    async def at_mu(self, wanted: Collection[str], x: NDArray[Any], mu: Floats) -> dict[str, Array]:
        return {"nll": -await self._kind.log_likelihoods(x, mu, self._inference)} if "nll" in wanted else {}

    async def log_likelihood(self, x: NDArray[Any], z: Floats) -> Array:
        draws = z.shape[1]
        flat = await self._kind.log_likelihoods(np.repeat(x, draws, 0), z.reshape(-1, z.shape[2]), self._inference)
        return flat.reshape(len(x), draws)


def refuse_label(inference: "Inference") -> None:
    """Raise NoSuchLabel if a request has a label: no model of sequences is conditional."""
    if inference.label is not None:
        labels_of(inference.model, inference.label)


async def gathered(waiting: list[Any]) -> list[Any]:
    """Return the results of all; if one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
