"""A convolutional net for any picture size: strided convolutions, a dense layer, transposed convolutions.

There is no batch normalisation, so the result for a row never depends on the other rows of its batch.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.nets.layers import activation_layer, check_width, check_widths
from models.nets.net import Net

Pair = tuple[int, int]


class Conv(Net):
    """Convolutions where each level halves height and width (rounded down) with a 4x4 kernel of stride 2.

    `channels`: one entry per level; default: 32, 64, 128, ... until the smaller side is below 8. `hidden`: width of
    the dense layer between the convolutions and the latents, 0 for none. The default activation is smooth: on dark pictures
    the first steps set so many ReLUs to 0 permanently that the posterior collapses.
    """

    labels = "planes"

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        channels: Sequence[int] | None = None,
        hidden: int = 192,
        activation: str = "silu",
        labels: int = 0,
    ) -> None:
        super().__init__()
        widths = [shape[0], *check_widths("channels", default_channels(shape) if channels is None else channels)]
        check_width("hidden", hidden)
        size: Pair = shape[1:]
        down: list[nn.Module] = []
        up: list[nn.Module] = []  # Built from the picture to the latent, and used in reverse order.
        for level, (inward, outward) in enumerate(pairwise(widths)):
            half, more = halving(size), 0 if level else labels
            down += [nn.Conv2d(inward + more, outward, half.kernel, half.stride, half.padding), activation_layer(activation)]
            if level > 0:  # The last transposed convolution has no activation: it gives the likelihood's input.
                up.append(activation_layer(activation))
            up.append(nn.ConvTranspose2d(outward, inward, half.kernel, half.stride, half.padding, half.missing))
            size = half.after
        inner = (widths[-1], *size)  # (C', H', W')
        dense = [prod(inner), hidden] if hidden else [prod(inner)]
        self.encoder = nn.Sequential(
            *down, nn.Flatten(), *dense_layers(dense, activation), nn.Linear(dense[-1], 2 * latent_dim)
        )
        self.decoder = nn.Sequential(
            *dense_layers([latent_dim + labels, *reversed(dense)], activation), nn.Unflatten(1, inner), *reversed(up)
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, dim=1)  # (B, 2 D) -> (B, D), (B, D)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(z)  # (B, C, H, W)
        return output

    @torch.no_grad()
    def start_from(self, mean: Tensor) -> None:
        """Set the biases of new weights for pictures with these means of their channels, (C,) in [0, 1].

        The first convolution then sees differences from the mean, and the first decoded pictures have it.
        """
        first, last = self.encoder[0], self.decoder[-1]
        if isinstance(first, nn.Conv2d) and first.bias is not None:
            seen = first.weight[:, : len(mean)].sum((2, 3))  # (C', C), without the labels
            first.bias -= (seen * mean.to(first.weight)).sum(1)  # (C',)
        if isinstance(last, nn.ConvTranspose2d) and last.bias is not None:
            last.bias.copy_(mean.clamp(0.01, 0.99).logit())


def default_channels(shape: tuple[int, int, int]) -> list[int]:
    """Return 32, 64, 128, 256, 256, ...: enough levels to bring the smaller side below 8, and at least one."""
    side, channels = min(shape[1:]), [32]
    while side // 2 >= 8:
        side //= 2
        channels.append(min(2 * channels[-1], 256))
    return channels


def slim_channels(shape: tuple[int, int, int]) -> list[int]:
    """Return 16, 32, 64, 64, ...: enough levels to bring the smaller side below 12; for large pictures on few cores.

    Emoji of 64 x 64 were better with three levels than with four (0.26 and 0.32 of the mean picture's squared error after 800
    steps), drawings of 105 x 105 with four than with three (0.43 and 0.49 after 1,000 steps).
    """
    side, channels = min(shape[1:]) // 2, [16]
    while side >= 12:
        side //= 2
        channels.append(min(2 * channels[-1], 64))
    return channels


class Halving(NamedTuple):
    """A convolution that halves height and width, and the padding with which its transpose restores them."""

    kernel: Pair
    stride: Pair
    padding: Pair
    after: Pair  # (H, W) of its output
    missing: Pair  # the `output_padding` of the transpose


def halving(size: Pair) -> Halving:
    """Return a 4x4 kernel with stride 2 for this size; a side of one pixel keeps its length."""
    kernel = (4 if size[0] > 1 else 1, 4 if size[1] > 1 else 1)
    stride = (2 if size[0] > 1 else 1, 2 if size[1] > 1 else 1)
    padding = (1 if size[0] > 1 else 0, 1 if size[1] > 1 else 0)
    after = (size[0] // stride[0], size[1] // stride[1])
    missing = (size[0] - after[0] * stride[0], size[1] - after[1] * stride[1])
    return Halving(kernel, stride, padding, after, missing)


def dense_layers(widths: Sequence[int], activation: str) -> list[nn.Module]:
    """Return linear layers from each width to the next, each followed by an activation."""
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), activation_layer(activation)]
    return layers
