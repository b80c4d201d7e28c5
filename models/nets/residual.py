"""A deeper convolutional net with residual blocks (He et al. 2016, arXiv:1603.05027), for any picture size.

There is no batch normalisation; instead, the last convolution of each block is initialised with small weights.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from models.nets.conv import Pair, default_channels, dense_layers, halving
from models.nets.layers import MAX_LAYERS, activation_layer, check_width, check_widths
from models.nets.net import Net

SMALL_START = 0.1


class Block(nn.Module):
    """A residual block: x + conv(act(conv(act(x)))), with 3x3 kernels."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            activation_layer(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
            activation_layer(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        with torch.no_grad():
            for parameter in self.branch[-1].parameters():
                parameter.mul_(SMALL_START)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x + self.branch(x)
        return summed


class Residual(Net):
    """Convolutions where each level halves height and width (rounded down), followed by residual blocks.

    `channels`: one entry per level, default as in `Conv`. `blocks`: residual blocks per level, in encoder and decoder.
    `hidden`: width of the dense layer between the convolutions and the latents, 0 for none.
    """

    labels = "planes"

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        channels: Sequence[int] | None = None,
        blocks: int = 1,
        hidden: int = 256,
        activation: str = "silu",
        labels: int = 0,
    ) -> None:
        super().__init__()
        widths = [shape[0], *check_widths("channels", default_channels(shape) if channels is None else channels)]
        check_width("hidden", hidden)
        check_width("blocks", blocks, MAX_LAYERS // max(1, len(widths) - 1))
        size: Pair = shape[1:]
        down: list[nn.Module] = []
        up: list[nn.Module] = []  # Built from the picture to the latent, and used in reverse order.
        for level, (inward, outward) in enumerate(pairwise(widths)):
            half, more = halving(size), 0 if level else labels
            down.append(nn.Conv2d(inward + more, outward, half.kernel, half.stride, half.padding))
            down += [*(Block(outward, activation) for _ in range(blocks)), activation_layer(activation)]
            up.append(nn.ConvTranspose2d(outward, inward, half.kernel, half.stride, half.padding, half.missing))
            up += [activation_layer(activation), *(Block(outward, activation) for _ in range(blocks))]
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
