"""The lanes of a model of sequences, and the layout of their rows. Knows nothing of requests or HTTP.

`encode_T` and `weigh_T` take rows of T steps. `begin` makes the first state of a latent, and `decode` a few steps: its row
has the state, the step before, the noise of the steps, their temperature, and steps that are given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint
from models.sequences import Autoregressive
from models.vae import VAE
from service.engine.device import Device
from service.engine.lane import Lane
from service.inference.kinds.served_kind import Floats, encoder
from service.latents import noise as seeds

# So many steps are made in a turn of the device: enough to be worth the copies, and few enough for others to get theirs.
STEPS = 4
# On the CPU so many rows make their steps in a turn, which takes 3 to 4 ms with 256 to 512 units.
CPU_BATCH = 32
# A batch that encodes or weighs has at most about so many steps, all rows together, so that it takes some milliseconds.
BATCH_STEPS = 1024
LEAST_BATCH = 4
BEGUN = 3  # steps of an example of a beginning


@dataclass(frozen=True)
class Layout:
    """Sizes of the parts of a row of `decode`."""

    max_length: int
    state: int
    step: tuple[int, ...]  # the shape of a step: (3,) or ()
    noise: int  # uniform numbers of a step
    end: NDArray[Any]  # the step that ends a row, (*step)
    begun: NDArray[Any]  # the first steps of a row that the model has made, (1, T, *step)

    @property
    def width(self) -> int:
        """Return how many numbers a step has."""
        return int(np.prod(self.step, dtype=np.int64))

    @property
    def sizes(self) -> list[int]:
        """Return the sizes of state, step before, noise, temperature and given steps."""
        return [self.state, self.width, STEPS * self.noise, 1, STEPS * self.width]

    def blank(self, count: int, length: int) -> NDArray[Any]:
        """Return rows that have ended, (count, length, *step)."""
        found = np.empty((count, length, *self.step), self.end.dtype)
        found[...] = self.end
        return found

    def pack(self, state: Floats, previous: NDArray[Any], uniforms: Floats, temperature: float, given: NDArray[Any]) -> Floats:
        """Return rows of `decode`: state (n, S), the step before (n, 1, *step), noise (n, STEPS, noise), given steps."""
        count = len(state)
        warmth = np.full((count, 1), temperature, np.float32)
        parts = [state, previous.reshape(count, -1), uniforms.reshape(count, -1), warmth, given.reshape(count, -1)]
        return np.concatenate(parts, 1, dtype=np.float32)

    def unpack(self, answers: Floats) -> tuple[Floats, NDArray[Any]]:
        """Return the next states (n, S), whose last column is 1 for a row that has ended, and the steps made."""
        steps = answers[:, self.state :].reshape(len(answers), STEPS, *self.step)
        return answers[:, : self.state], steps.astype(self.end.dtype)


def bucket_lengths(max_length: int) -> list[int]:
    """Return the lengths of rows for which there are lanes: the longest, and parts of it."""
    return sorted({-(-max_length // share) for share in (8, 4, 2, 1)})


async def start_lanes(name: str, checkpoint: Checkpoint, device: Device) -> tuple[dict[str, Lane], Layout]:
    """Move a model to the device and make its lanes, warmed up and checked. Raises RuntimeError."""
    vae, layout, examples = await device.aside(lambda: _with_examples(checkpoint, device))
    found: dict[str, Lane] = {}
    functions: dict[str, Callable[[Tensor], Tensor]] = {"begin": beginner(vae), "decode": stepper(vae, layout)}
    for length in bucket_lengths(layout.max_length):
        functions |= {f"encode_{length}": encoder(vae), f"weigh_{length}": weigher(vae, length)}
    try:
        for lane, function in functions.items():
            (found[lane],) = await device.lanes(function, examples[lane], name=f"{name} {lane}", only_torch=True, finite=True)
    except BaseException:
        device.forget(list(found.values()))
        raise
    found["decode"].turns = layout.max_length / STEPS / 2  # on average, if rows end half way
    return found, layout


def beginner(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of the lane `begin`: latents (B, D) -> the first states (B, S)."""

    def begin(z: Tensor) -> Tensor:
        return _likelihood(vae, z).start()

    return begin


def stepper(vae: VAE, layout: Layout) -> Callable[[Tensor], Tensor]:
    """Return the function of the lane `decode`: rows, see `Layout.pack` -> the next states and the steps, (B, S + ...)."""
    dim, sizes, step = vae.config.latent_dim, layout.sizes, layout.step

    def advance(rows: Tensor) -> Tensor:
        state, previous, uniforms, temperature, given = rows.split(sizes, 1)
        likelihood = _likelihood(vae, rows.new_zeros(len(rows), dim))  # What z says is in the state.
        kind = vae.kind.to_x
        state, made = likelihood.advance(
            state,
            kind(previous.reshape(-1, *step)),
            uniforms.reshape(len(rows), STEPS, -1),
            temperature[:, 0],
            kind(given.reshape(len(rows), STEPS, *step)),
        )
        return torch.cat([state, made.flatten(1).float()], 1)

    return advance


def weigher(vae: VAE, length: int) -> Callable[[Tensor], Tensor]:
    """Return the function of a lane `weigh`: latents and rows, (B, D + length ...) -> log p of each step, (B, length + 1).

    Batches of different sizes are compared by their answers, and few bits would be left to differ in a sum.
    """
    dim, step = vae.config.latent_dim, vae.config.shape[1:]

    def weigh(rows: Tensor) -> Tensor:
        x = vae.kind.to_x(rows[:, dim:].reshape(len(rows), length, *step))
        return _likelihood(vae, rows[:, :dim]).step_log_probs(x).float()

    return weigh


def _longest(steps: Any, rows: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return the longest of some rows, (1, T, ...)."""
    ended = steps.is_end(torch.from_numpy(rows)).numpy()
    found: NDArray[Any] = x[np.argmin(ended.sum(1))][None]
    return found


def _likelihood(vae: VAE, z: Tensor) -> Autoregressive:
    found: Any = vae.decode(z)
    likelihood: Autoregressive = found
    return likelihood


def _with_examples(checkpoint: Checkpoint, device: Device) -> tuple[VAE, Layout, dict[str, NDArray[Any]]]:
    """Return the model on the device, the layout of rows, and rows of each lane to warm up with, drawn by the model."""
    vae = checkpoint.vae.to(device.torch_device).requires_grad_(False)
    count, shape = device.limits.max_batch, vae.config.shape
    z = seeds.standard_normal(0, count, vae.config.latent_dim)
    noise = np.random.Generator(np.random.Philox(0))
    steps: Any = vae.likelihood
    with torch.inference_mode():
        likelihood = _likelihood(vae, torch.from_numpy(z).to(device.torch_device))
        state = likelihood.start()
        uniforms = torch.from_numpy(noise.random((count, shape[0], steps.noise), np.float32)).to(device.torch_device)
        warm = torch.full((count,), 0.5, device=device.torch_device)
        rows = likelihood.draw(uniforms, warm).cpu().numpy()
        end = steps.end(state[:1])[0].cpu().numpy()
    dtype = np.float32 if len(shape) == 2 else np.int16
    x = rows.astype(dtype)
    layout = Layout(shape[0], state.shape[1], shape[1:], steps.noise, end.astype(dtype), _longest(steps, rows, x)[:, :BEGUN])
    begun = state.cpu().numpy()
    unused = uniforms[:, :STEPS].cpu().numpy()
    packed = layout.pack(begun, layout.blank(count, 1), unused, 1.0, layout.blank(count, STEPS))
    if shape[0] > STEPS:
        packed[::2, layout.state : layout.state + layout.width] = x[::2, STEPS].reshape(len(x[::2]), -1)
    packed[1::4, sum(layout.sizes[:3])] = 0.0  # some of them greedy
    turn = CPU_BATCH if device.torch_device.type == "cpu" else count
    examples: dict[str, NDArray[Any]] = {"begin": z, "decode": packed[:turn]}
    for length in bucket_lengths(shape[0]):
        some = min(count, max(LEAST_BATCH, BATCH_STEPS // length))
        own = x[:some, :length]
        flat = own.reshape(some, -1)
        examples |= {f"encode_{length}": own, f"weigh_{length}": np.concatenate([z[:some], flat], 1, dtype=np.float32)}
    return vae, layout, examples
