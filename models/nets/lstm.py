"""A bidirectional LSTM encoder and an autoregressive LSTM decoder, for drawings (points of a pen) and texts (tokens).

As in MusicVAE (Roberts et al. 2018, arXiv:1803.05428) and sketch-rnn (Ha & Eck 2017, arXiv:1704.03477): z sets the first
state of the decoder, and is an input of each step. Knows nothing of likelihoods: what the outputs mean is theirs.

A row is (T, 3) for points, with pen = 2 after the end, or (T,) for tokens, with 0 after the end. What comes after the end
changes nothing, and a row may be cut to any T that holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from reprlib import repr as short_repr

import torch
from torch import Tensor, nn

from models.nets.layers import MAX_WIDTH, is_whole
from models.nets.net import Net

PEN_DOWN, PEN_UP, END = 0, 1, 2  # values of the third column of points
END_TOKEN = 0
# Posteriors start narrow, with means that are wide apart. Otherwise z is noise to begin with, and the decoder learns to do
# without it: after 300 steps on drawings, z was worth nothing without this, and 10 nats with it.
FIRST_LOGVAR, FIRST_MEANS = -4.0, 8.0
POINT_INPUTS = 5  # dx, dy, and the three states of the pen, one of which is 1


class LSTM(Net):
    """Recurrent encoder and decoder. `outputs`: numbers per step, as the likelihood needs them; one for each token.

    `encoder` and `decoder` are the numbers of units (the encoder has as many in each direction), `embedding` is the width of
    the vector of a token, and `word_dropout` the share of inputs of the decoder that training hides (Bowman et al. 2016,
    arXiv:1511.06349), so that the decoder has to read z.
    """

    rand: Callable[..., Tensor]  # draws the noise of word dropout

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        outputs: int,
        encoder: int = 192,
        decoder: int = 384,
        embedding: int = 64,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, width in (("outputs", outputs), ("encoder", encoder), ("decoder", decoder), ("embedding", embedding)):
            if not is_whole(width, MAX_WIDTH):
                raise ValueError(f"{name} must be a positive integer up to {MAX_WIDTH}, not {short_repr(width)}")
        if isinstance(word_dropout, bool) or not isinstance(word_dropout, (int, float)) or not 0 <= word_dropout < 1:
            raise ValueError(f"word_dropout must be a number from 0 to below 1, not {short_repr(word_dropout)}")
        self.max_length, self.is_tokens, self.word_dropout = shape[0], len(shape) == 1, float(word_dropout)
        self.hidden, self.rand = decoder, torch.rand
        width = embedding if self.is_tokens else POINT_INPUTS
        if self.is_tokens:
            self.embedding = nn.Embedding(outputs, embedding)
        self.forwards = nn.LSTM(width, encoder, batch_first=True)
        self.backwards = nn.LSTM(width, encoder, batch_first=True)
        self.posterior = nn.Linear(2 * encoder, 2 * latent_dim)
        self.first_state = nn.Linear(latent_dim, 2 * decoder)
        self.decoder = nn.LSTM(width + latent_dim, decoder, batch_first=True)
        self.head = nn.Linear(decoder, outputs)
        with torch.no_grad():
            self.posterior.weight[:latent_dim] *= FIRST_MEANS
            self.posterior.bias[latent_dim:] = FIRST_LOGVAR
            for lstm in (self.forwards, self.backwards, self.decoder):
                _remember(lstm)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (B, D) each: points (B, T, 3) or tokens (B, T)."""
        alive = is_alive(x)  # (B, T)
        length = alive.sum(1)  # (B,)
        steps = self._inputs(x) * alive[..., None]  # (B, T, W)
        last = (length - 1).clamp(min=0)
        place = torch.arange(x.shape[1], device=x.device)
        # Each row is reversed within its own length, so that the backward direction begins at its end, not in the padding.
        order = torch.where(alive, last[:, None] - place, place)  # (B, T)
        turned = steps.gather(1, order[..., None].expand_as(steps))  # (B, T, W)
        ends = [_at(net(values)[0], last) for net, values in ((self.forwards, steps), (self.backwards, turned))]
        both = torch.cat(ends, 1) * (length > 0)[:, None]  # (B, 2 E)
        mu, logvar = self.posterior(both).chunk(2, dim=1)  # (B, 2 D) -> (B, D), (B, D)
        return mu, logvar

    def decode(self, z: Tensor) -> "Decoding":  # type: ignore[override]  # one output per step, which depends on the steps before
        return Decoding(self, z)

    def start(self, z: Tensor) -> Tensor:
        """Return the first state of the decoder, (B, D) -> (B, S): its h, its c, and z, which each step reads."""
        return torch.cat([torch.tanh(self.first_state(z)), z], 1)

    def step(self, state: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of one step, and the next state: (B, S), point (B, 3) or token (B,) -> (B, outputs), (B, S)."""
        h, c, z = state.split([self.hidden, self.hidden, state.shape[1] - 2 * self.hidden], 1)
        inputs = torch.cat([self._inputs(previous), z], 1)  # (B, W + D)
        _, (h, c) = self.decoder(inputs[:, None], (h[None].contiguous(), c[None].contiguous()))
        return self.head(h[0]), torch.cat([h[0], c[0], z], 1)

    def teacher_forced(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the outputs of all steps, each after the true steps before it: (B, D), (B, T, ...) -> (B, T + 1, outputs)."""
        end = torch.zeros_like(x[:, :1])
        if not self.is_tokens:
            end[..., 2] = END
        inputs = self._inputs(torch.cat([end, x], 1))  # (B, T + 1, W)
        if self.training and self.word_dropout:
            inputs = inputs * (self.rand(*inputs.shape[:2], 1, device=inputs.device) >= self.word_dropout)
        h, c = torch.tanh(self.first_state(z)).chunk(2, 1)
        inputs = torch.cat([inputs, z[:, None].expand(-1, inputs.shape[1], -1)], 2)  # (B, T + 1, W + D)
        values, _ = self.decoder(inputs, (h[None].contiguous(), c[None].contiguous()))  # (B, T + 1, H)
        outputs: Tensor = self.head(values)
        return outputs

    def _inputs(self, x: Tensor) -> Tensor:
        """Return what an LSTM reads for points (..., 3) or tokens (...,): (..., W)."""
        if self.is_tokens:
            embedded: Tensor = self.embedding(x)
            return embedded
        pens = [(x[..., 2] == pen).to(x.dtype) for pen in (PEN_DOWN, PEN_UP, END)]
        return torch.cat([x[..., :2], torch.stack(pens, -1)], -1)


@dataclass(frozen=True)
class Decoding:
    """The decoder with its latents: what a likelihood of sequences needs of a net."""

    net: LSTM
    z: Tensor  # (B, D)

    @property
    def max_length(self) -> int:
        """Return the largest number of steps of a row."""
        return self.net.max_length

    def start(self) -> Tensor:
        """Return the first state, (B, S)."""
        return self.net.start(self.z)

    def step(self, state: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of one step, and the next state."""
        return self.net.step(state, previous)

    def teacher_forced(self, x: Tensor) -> Tensor:
        """Return the outputs of all steps, each after the true steps before it: (B, T, ...) -> (B, T + 1, outputs)."""
        return self.net.teacher_forced(self.z, x)


def _remember(lstm: nn.LSTM) -> None:
    """Let the forget gates start open (Jozefowicz et al. 2015, ICML), so that gradients reach the first steps of long rows."""
    gates = slice(lstm.hidden_size, 2 * lstm.hidden_size)
    for name, value in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
        lstm.get_parameter(name)[gates] = value


def is_alive(x: Tensor) -> Tensor:
    """Return which steps come before the end of their row, points (B, T, 3) or tokens (B, T) -> bool (B, T)."""
    ended = x == END_TOKEN if x.dim() == 2 else ~(x[..., 2] < END)
    return ended.long().cumsum(1) == 0  # ONNX has sums of this kind, but no products


def _at(values: Tensor, place: Tensor) -> Tensor:
    """Return the step `place` of each row, (B, T, H), (B,) -> (B, H)."""
    return values.gather(1, place[:, None, None].expand(-1, 1, values.shape[2])).squeeze(1)
