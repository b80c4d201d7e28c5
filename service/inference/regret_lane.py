"""The queue of a model's steps of likelihood regret: made when somebody first asks for it, since few do, and most never.

A row is one picture with the state of its optimisation, and a batch is one step of up to 4 rows: between two steps, other
queues get their turns. Knows nothing of requests.
"""

import asyncio
import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import regret
from models.checkpoint import Checkpoint, CheckpointError
from models.condition import with_labels
from models.priors import Prior
from models.vae import VAE
from service.engine.device import Device
from service.engine.lane import Lane
from service.inference.told import encoding, in_turn
from service.latents import noise as seeds

log = logging.getLogger(__name__)
Floats = NDArray[np.float32]

# A step of so many rows takes about as long as a batch of 64 pictures takes to encode.
BATCH_ROWS = 4


class ModelChanged(Exception):
    """The weights that regret needs are not those that are loaded."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"regret reads the weights of {name!r} when it is first asked for, but {reason}; reload the model, then ask again"
        )


class RegretLane:
    """The queue of one model, which `get` makes. Call `end` when nobody has the model any more."""

    def __init__(self, name: str, digest: str, read: Callable[[], Checkpoint], device: Device) -> None:
        """Make nothing yet. `read` reads the checkpoint with this digest from its directory."""
        self.lane: Lane | None = None
        self.tell_of: Callable[[Lane], None] = lambda _: None  # called with the lane once it is made
        self._name, self._digest, self._read, self._device = name, digest, read, device
        self._making: asyncio.Task[Lane] | None = None
        self._ended = False

    async def get(self) -> Lane:
        """Return the queue. The first caller has it made, beside whatever is served. Raises ModelChanged, RuntimeError."""
        if self.lane is not None:
            return self.lane
        if self._making is None:
            self._making = asyncio.ensure_future(self._make())
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)  # Others may wait for it, too.

    def end(self) -> None:
        """Remove the queue from the device, now or once it is made."""
        self._ended = True
        if self.lane is not None:
            self._device.forget([self.lane])
            self.lane = None

    def _made(self, task: "asyncio.Task[Lane]") -> None:
        self._making = None
        if task.cancelled() or task.exception() is not None:  # The next caller tries again.
            return
        self.lane = task.result()
        self.tell_of(self.lane)
        if self._ended:
            self.end()

    async def _make(self) -> Lane:
        vae, prior, rows = await asyncio.to_thread(self._prepare)
        (lane,) = await self._device.lanes(stepper(vae, prior), rows, name=f"{self._name} regret", only_torch=True)
        return lane

    def _prepare(self) -> tuple[VAE, Prior | None, Floats]:
        """Return the model on the device, its learnt prior, and rows to warm up with. Raises ModelChanged."""
        try:
            checkpoint = self._read()
        except CheckpointError as error:
            log.warning("regret of %s: %s", self._name, error)  # It has paths, which are not for callers.
            raise ModelChanged(self._name, "they cannot be read (the log of the service says why)") from error
        if checkpoint.digest != self._digest:
            raise ModelChanged(self._name, "its directory has others now")
        target = self._device.torch_device
        vae = checkpoint.vae.to(target).requires_grad_(False)
        count, dim = min(BATCH_ROWS, self._device.limits.max_batch), vae.config.latent_dim
        eps = seeds.standard_normal(0, 2 * count, dim)
        with torch.no_grad():
            labels = in_turn(vae.config.condition, count)
            told = vae.given(None if labels is None else torch.from_numpy(labels).to(target))
            likelihood = told.decode(torch.from_numpy(eps[:count]).to(target))
            x = likelihood.mean.float().clamp(0, 1)
            posterior = told.encode(x)
            state = regret.first_state(posterior.mu.float(), posterior.logvar.float())
            prior = regret.own_prior(vae)
        rows = first_rows(x.cpu().numpy(), state.cpu().numpy(), labels)
        set_step(rows, state.cpu().numpy(), 1, eps[count:])
        return vae, prior, rows


def stepper(vae: VAE, prior: Prior | None) -> Callable[[Tensor], Tensor]:
    """Return the function of the queue: rows (B, P + 7 D + 1) -> (B, 6 D + 1), see `first_rows` and `parts_of`."""
    shape, dim = vae.config.shape, vae.config.latent_dim
    sizes = [int(np.prod(shape)) + (vae.config.condition is not None), regret.STATE * dim, 1, dim]

    def step(rows: Tensor) -> Tensor:
        x, state, count, eps = rows.split(sizes, 1)
        told, x = encoding(vae, x)
        state, elbo = regret.step(told, prior, x.unflatten(1, shape), state.unflatten(1, (regret.STATE, dim)), count, eps)
        return torch.cat([state.flatten(1), elbo[:, None]], 1)

    return step


def first_rows(x: Floats, state: Floats, labels: NDArray[np.int64] | None = None) -> Floats:
    """Return rows (N, P + 7 D + 1): pictures (N, C, H, W), states (N, 6, D), room for count and noise.

    The `labels` of a conditional model, (N,), are one more number of each picture.
    """
    dim = state.shape[2]
    room = np.zeros((len(x), 1 + dim), np.float32)
    flat = x.reshape(len(x), -1)
    return np.concatenate([flat if labels is None else with_labels(flat, labels), state.reshape(len(x), -1), room], 1)


def parts_of(answers: Floats) -> tuple[Floats, Floats]:
    """Return the states after one step, (N, 6, D), and the one-sample ELBOs before it, (N,), of answers (N, 6 D + 1)."""
    return answers[:, :-1].reshape(len(answers), regret.STATE, -1), answers[:, -1]


def set_step(rows: Floats, state: Floats, count: int, eps: Floats) -> None:
    """Write the states (N, 6, D), the number of the step, from 1, and its noise, (D,) or (N, D), into rows."""
    dim = state.shape[2]
    rows[:, -7 * dim - 1 : -dim - 1] = state.reshape(len(state), -1)
    # Padding has the count 0, where Adam divides by 0: such rows are thrown away.
    rows[:, -dim - 1] = count
    rows[:, -dim:] = eps
