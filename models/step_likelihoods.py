"""The distributions of one step of a sequence: a token, or a point of a pen (Ha & Eck 2017, arXiv:1704.03477, section 3.2).

Each is a layer that turns a decoder into p(x given z), see `models.sequences`. Knows nothing of nets, files or HTTP.
"""

import math
from reprlib import repr as short_repr
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from models.nets.lstm import END, END_TOKEN, PEN_DOWN, PEN_UP
from models.sequences import Autoregressive, Decoding

LOG_2PI = math.log(2 * math.pi)
PENS = 3
PER_COMPONENT = 6  # weight, two means, two log sigmas, correlation
# The largest correlation: at 1, the density of points on a line has no bound.
MOST_CORRELATION = 0.98
# The smallest sigma by default, in units of x, whose standard deviation is 1 in the training data. Without a floor, the
# densities of what is always the same, such as the first point, have no bound.
SIGMA_FLOOR = 0.05
# Uniform noise is kept off 0 and 1, where the inverse of the normal distribution function is infinite.
EDGE = 2.0**-24
# Logits divided by a lower temperature would overflow, and it differs from 0 in nothing.
COLDEST = 1e-30


class Categorical(nn.Module):
    """Tokens 0, 1, ...: one logit for each. Token 0 is the end of the row."""

    noise = 1  # uniform numbers that a draw takes
    memory = 0

    def __init__(self) -> None:
        """Take no options."""
        super().__init__()

    def forward(self, decoding: Decoding) -> Autoregressive:
        return Autoregressive(decoding, self)

    def end(self, like: Tensor) -> Tensor:
        """Return the token that ends a row, once per row of `like`, (B, ...) -> int64 (B,)."""
        return torch.full((len(like),), END_TOKEN, dtype=torch.int64, device=like.device)

    def is_end(self, x: Tensor) -> Tensor:
        """Return which tokens are the end: (...,) -> bool (...,)."""
        return x == END_TOKEN

    def without_end(self, output: Tensor) -> Tensor:
        """Return logits with which the token is not the end: (..., V)."""
        return torch.cat([torch.full_like(output[..., :1], -torch.inf), output[..., 1:]], -1)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the log probability of each token: (..., V), (...,) -> (...,)."""
        return log_softmax(outputs, -1).gather(-1, x.long()[..., None]).squeeze(-1)

    def choose(self, output: Tensor, uniforms: Tensor, temperature: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return a token per row: (B, V), uniforms (B, 1), temperature (B,), 0 for the likeliest token -> (B,)."""
        return pick(output, uniforms[:, 0], temperature), memory


class Points(NamedTuple):
    """A mixture of M bivariate Gaussians over (dx, dy), (..., M) each, and the states of the pen, (..., 3)."""

    logits: Tensor
    mean_x: Tensor
    mean_y: Tensor
    log_sigma_x: Tensor
    log_sigma_y: Tensor
    correlation: Tensor
    pen: Tensor


class Mixture(nn.Module):
    """Points (dx, dy, pen): 3 logits of the pen, and 6 numbers for each of the components of the mixture."""

    noise = 5  # component, dx, dy, end of the stroke, end of the drawing
    # The probabilities that the stroke and the drawing would still go on, and the shares at which they end (1: not drawn yet).
    memory = 4

    def __init__(self, sigma_floor: float = SIGMA_FLOOR) -> None:
        super().__init__()
        number = not isinstance(sigma_floor, bool) and isinstance(sigma_floor, (int, float))
        if not number or not 1e-4 <= sigma_floor <= 10:
            raise ValueError(f"sigma_floor must be a number from 0.0001 to 10, not {short_repr(sigma_floor)}")
        self.log_floor = math.log(sigma_floor)

    def forward(self, decoding: Decoding) -> Autoregressive:
        return Autoregressive(decoding, self)

    def end(self, like: Tensor) -> Tensor:
        """Return the point that ends a row, once per row of `like`, (B, ...) -> float32 (B, 3)."""
        end = torch.zeros(len(like), 3, device=like.device)
        end[:, 2] = END
        return end

    def is_end(self, x: Tensor) -> Tensor:
        """Return which points are the end: (..., 3) -> bool (...,)."""
        return x[..., 2] >= END

    def without_end(self, output: Tensor) -> Tensor:
        """Return outputs with which the point is not the end: (..., 3 + 6 M)."""
        return torch.cat([output[..., :END], torch.full_like(output[..., :1], -torch.inf), output[..., END + 1 :]], -1)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the log density of each point: (..., 3 + 6 M), (..., 3) -> (...,). The end has a pen, but no place."""
        found = self.points(outputs)
        pen = log_softmax(found.pen, -1).gather(-1, x[..., 2:].long()).squeeze(-1)
        across = (x[..., :1] - found.mean_x) * torch.exp(-found.log_sigma_x)  # (..., M)
        down = (x[..., 1:2] - found.mean_y) * torch.exp(-found.log_sigma_y)
        rest = 1 - found.correlation.square()
        squared = (across.square() + down.square() - 2 * found.correlation * across * down) / rest
        each = -LOG_2PI - found.log_sigma_x - found.log_sigma_y - 0.5 * (torch.log(rest) + squared)  # (..., M)
        place = torch.logsumexp(log_softmax(found.logits, -1) + each, -1)
        return pen + place.masked_fill(self.is_end(x), 0.0)

    def choose(self, output: Tensor, uniforms: Tensor, temperature: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return a point per row and the memory: (B, 3 + 6 M), uniforms (B, 5), temperature (B,), (B, 4) -> (B, 3), (B, 4).

        The logits of the mixture are divided by the temperature, and its variances multiplied by it (equation 8 of Ha & Eck).
        At 0, it is the mean of the heaviest component. Strokes and drawings then have their median lengths, see `_pen`.
        """
        found = self.points(output)
        component = pick(found.logits, uniforms[:, 0], temperature)[:, None]
        mean_x, mean_y, log_sigma_x, log_sigma_y, correlation = (
            values.gather(1, component).squeeze(1) for values in found[1:6]
        )
        spread = temperature.sqrt()
        across, other = torch.special.ndtri(uniforms[:, 1:3].clamp(EDGE, 1 - EDGE)).unbind(1)
        down = correlation * across + torch.sqrt(1 - correlation.square()) * other
        pen, memory = _pen(found.pen, uniforms[:, 3:], temperature, memory)
        point = torch.stack(
            [mean_x + log_sigma_x.exp() * spread * across, mean_y + log_sigma_y.exp() * spread * down, pen.float()], 1
        )
        return torch.where(self.is_end(point)[:, None], self.end(point), point), memory

    def points(self, outputs: Tensor) -> Points:
        """Return the parameters of the mixture. Raises ValueError unless there are 3 + 6 M outputs."""
        components, rest = divmod(outputs.shape[-1] - PENS, PER_COMPONENT)
        if components < 1 or rest:
            raise ValueError(f"a mixture takes 3 + 6 M outputs for M components, such as 123 for 20, not {outputs.shape[-1]}")
        pen, logits, mean_x, mean_y, wide, high, tilt = outputs.split([PENS, *[components] * PER_COMPONENT], -1)
        log_sigma_x, log_sigma_y = self._log_sigma(wide), self._log_sigma(high)
        return Points(logits, mean_x, mean_y, log_sigma_x, log_sigma_y, MOST_CORRELATION * torch.tanh(tilt), pen)

    def _log_sigma(self, raw: Tensor) -> Tensor:
        """Return log(floor + exp(raw)): smooth, so that gradients do not vanish at the floor."""
        return self.log_floor - logsigmoid(self.log_floor - raw)


def _pen(logits: Tensor, uniforms: Tensor, temperature: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state of the pen per row, and the memory: (B, 3), (B, 2), (B,), (B, 4) -> (B,), (B, 4).

    A stroke ends when the probability that it has ended by then exceeds a share, which is drawn when it begins; so does the
    drawing. At temperature 1 that is a draw from the model, at 0 the share is one half, and between the two it is nearer to
    one half. With the logits divided by the temperature instead, the likeliest state, "down", would nearly always win.
    """
    down, up, end = torch.softmax(logits, 1).unbind(1)
    lowered, going_on, lift_at, end_at = memory.unbind(1)
    shares = 0.5 + temperature.clamp(max=1)[:, None] * (uniforms.clamp(EDGE, 1 - EDGE) - 0.5)  # (B, 2)
    lift_at, end_at = (torch.where(at < 1, at, share) for at, share in zip((lift_at, end_at), shares.unbind(1), strict=True))
    going_on = going_on * (1 - end)
    lowered = lowered * (down / (down + up).clamp(min=EDGE))
    is_up, is_end = 1 - lowered > lift_at, 1 - going_on > end_at
    pen = torch.where(is_end, END, torch.where(is_up, PEN_UP, PEN_DOWN))
    again = torch.ones_like(lowered)  # the next stroke
    memory = torch.stack([torch.where(is_up, again, lowered), going_on, torch.where(is_up, again, lift_at), end_at], 1)
    return pen, memory


def pick(logits: Tensor, uniforms: Tensor, temperature: Tensor) -> Tensor:
    """Return a class per row, the inverse of the distribution function at `uniforms`: (B, V), (B,), (B,) -> int64 (B,).

    The logits are divided by the temperature; below COLDEST, it is the class with the largest one.
    """
    is_warm = temperature >= COLDEST
    warm = torch.where(is_warm, temperature, torch.ones_like(temperature))[:, None]
    cumulative = torch.softmax(logits / warm, 1).cumsum(1)  # (B, V)
    drawn = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(1).clamp(max=logits.shape[1] - 1)
    return torch.where(is_warm, drawn, logits.argmax(1))
