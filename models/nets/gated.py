"""A dense encoder and decoder with gated layers, as in Tomczak & Welling 2018 (arXiv:1705.07120, section 4.2)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from models.nets.layers import check_widths
from models.nets.net import Net


class GatedLinear(nn.Module):
    """(A x + a) * sigmoid(B x + b): Dauphin et al. 2017, arXiv:1612.08083, equation 1; one matrix product computes both."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inward, 2 * outward)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.linear(x).chunk(2, dim=1)  # (B, 2 out) -> (B, out), (B, out)
        gated: Tensor = value * torch.sigmoid(gate)
        return gated


class Gated(Net):
    """Gated dense layers; the decoder has the encoder's hidden widths in reverse order."""

    labels = "numbers"

    def __init__(self, shape: tuple[int, ...], latent_dim: int, hidden: Sequence[int] = (300, 300), labels: int = 0) -> None:
        super().__init__()
        check_widths("hidden widths", hidden)
        self.shape = shape
        inwards, outwards = [prod(shape) + labels, *hidden], [latent_dim + labels, *reversed(hidden)]
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(inwards), nn.Linear(inwards[-1], 2 * latent_dim))
        self.decoder = nn.Sequential(*_layers(outwards), nn.Linear(outwards[-1], prod(shape)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, dim=1)  # (B, 2 D) -> (B, D), (B, D)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(z)  # (B, C H W)
        return output.view(-1, *self.shape)  # (B, C, H, W)


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    return [GatedLinear(inward, outward) for inward, outward in pairwise(widths)]
