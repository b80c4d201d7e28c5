"""p(x given z) of sequences: each step from the steps before it, and the generation of rows, a few steps at a time.

Knows nothing of nets (see `models.nets.lstm`), of what a step is (see `models.step_likelihoods`), of files or HTTP.

Generation is a pure function of its arguments: all noise is uniform, given as an argument, and the state of a row is one flat
float32 tensor. So a service can run many rows as one batch, and come back to each row after some steps.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Decoding(Protocol):
    """A decoder with its latents, z (B, D)."""

    @property
    def max_length(self) -> int: ...

    def start(self) -> Tensor:
        """Return the first state, (B, S)."""

    def step(self, state: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of one step and the next state: (B, S), (B, ...) -> (B, outputs), (B, S)."""

    def teacher_forced(self, x: Tensor) -> Tensor:
        """Return the outputs of all steps, each after the true steps before it: (B, T, ...) -> (B, T + 1, outputs)."""


class StepLikelihood(Protocol):
    """The distribution of one step, given the output of the decoder."""

    noise: int  # uniform numbers that a draw takes
    memory: int  # numbers that `choose` keeps from step to step; 1 at the start

    def end(self, like: Tensor) -> Tensor:
        """Return the step that ends a row, (B, ...). It is also what comes before the first step."""

    def is_end(self, x: Tensor) -> Tensor:
        """Return which steps are the end."""

    def without_end(self, output: Tensor) -> Tensor:
        """Return outputs with which the step is not the end: (..., outputs)."""

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the log probability of each step: (B, T, outputs), (B, T, ...) -> (B, T)."""

    def choose(self, output: Tensor, uniforms: Tensor, temperature: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return one step per row, and the new memory, (B, memory): (B, outputs), uniforms (B, noise), temperature (B,)."""


@dataclass(frozen=True)
class Autoregressive:
    """p(x given z) = p(x_1 given z) p(x_2 given x_1, z) ... p(end given x, z), for rows of any length but 0."""

    decoding: Decoding
    steps: StepLikelihood

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x given z) in nats per item, with the end of the row: (B, T, ...) -> (B,)."""
        ends = self.steps.is_end(self._targets(x)).long()
        after = ends.cumsum(1) - ends > 0  # (B, T + 1): after the first end
        return self.step_log_probs(x).masked_fill(after, 0.0).sum(1)

    def step_log_probs(self, x: Tensor) -> Tensor:
        """Return log p of each step given z and the steps before it, (B, T, ...) -> (B, T + 1).

        What comes after the first end is not part of the row.
        """
        outputs = self.decoding.teacher_forced(x)  # (B, T + 1, outputs)
        outputs = torch.cat([self.steps.without_end(outputs[:, :1]), outputs[:, 1:]], 1)
        return self.steps.log_prob(outputs, self._targets(x))

    def _targets(self, x: Tensor) -> Tensor:
        """Return the steps with the end of the row, (B, T + 1, ...)."""
        return torch.cat([x, self.steps.end(x)[:, None].to(x.dtype)], 1)

    @property
    def mean(self) -> Tensor:
        """Return the rows at temperature 0, (B, T, ...). (The expectation of a sequence is no sequence.)"""
        state = self.decoding.start()
        none = torch.zeros(len(state), self.decoding.max_length, self.steps.noise, device=state.device)
        return self.draw(none, torch.zeros(len(state), device=state.device))

    def sample(self, eps: Tensor) -> Tensor:
        """Return a sample computed from standard normal noise, (B, T, noise) -> (B, T, ...)."""
        return self.draw(torch.special.ndtr(eps), torch.ones(len(eps), device=eps.device))

    def draw(self, uniforms: Tensor, temperature: Tensor) -> Tensor:
        """Return rows of T steps, computed from uniform noise in [0, 1]: (B, T, noise), temperature (B,) -> (B, T, ...).

        Temperature 0 is greedy. Stops when all rows have ended; the rest is the end.
        """
        state, parts = self.start(), list[Tensor]()
        previous = self.steps.end(state)
        for place in range(uniforms.shape[1]):
            state, steps = self.advance(state, previous, uniforms[:, place : place + 1], temperature)
            parts.append(steps)
            previous = steps[:, -1]
            if place % 16 == 15 and bool(self.steps.is_end(previous).all()):
                break
        missing = uniforms.shape[1] - len(parts)
        end = self.steps.end(state)[:, None]
        return torch.cat([*parts, end.expand(-1, missing, *end.shape[2:])], 1)

    def start(self) -> Tensor:
        """Return the state before the first step, float32 (B, S). Its last column says whether the row has ended: 0."""
        first = self.decoding.start()
        return torch.cat([first, first.new_ones(len(first), self.steps.memory), first.new_zeros(len(first), 1)], 1)

    def advance(
        self, state: Tensor, previous: Tensor, uniforms: Tensor, temperature: Tensor, begun: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the state after some steps, and these steps: uniforms (B, S, noise) -> (B, S, ...).

        previous: the last step, (B, ...); before the first, the end. After the end of a row, each step is the end.
        begun: steps that are given, (B, S, ...), for rows that go on from a beginning; where it is the end, the step is drawn.
        """
        kept, ended = self.steps.memory, state[:, -1:] > 0
        state, memory = state[:, : -1 - kept], state[:, state.shape[1] - 1 - kept : -1]  # (B, S'), (B, memory)
        parts = []
        for place in range(uniforms.shape[1]):
            output, state = self.decoding.step(state, previous)
            is_first = self.steps.is_end(previous)[:, None]  # What comes after the end is drawn, and then left out.
            output = torch.where(is_first, self.steps.without_end(output), output)
            step, memory = self.steps.choose(output, uniforms[:, place], temperature, memory)
            if begun is not None:
                given = begun[:, place].to(step.dtype)
                is_given = ~self.steps.is_end(given)
                step = torch.where(_like(is_given, step), given, step)
                memory = torch.where(is_given[:, None], torch.ones_like(memory), memory)
            step = torch.where(_like(ended[:, 0], step), self.steps.end(step).to(step.dtype), step)
            ended = ended | self.steps.is_end(step)[:, None]
            parts.append(step)
            previous = step
        return torch.cat([state, memory, ended.to(state.dtype)], 1), torch.stack(parts, 1)


def _like(rows: Tensor, step: Tensor) -> Tensor:
    """Return a mask of rows, (B,), that broadcasts over a step, (B, ...)."""
    return rows.view(-1, *[1] * (step.dim() - 1))
