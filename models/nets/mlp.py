"""A dense encoder and decoder with any hidden widths, as in Kingma & Welling 2014 (arXiv:1312.6114, appendix C)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from reprlib import repr as short_repr

from torch import Tensor, nn

from models.nets.layers import activation_layer, check_widths
from models.nets.net import Net


class MLP(Net):
    """Dense layers; the decoder has the hidden widths in reverse. `dropout` is the probability to drop a hidden unit."""

    labels = "numbers"

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        hidden: Sequence[int] = (400,),
        activation: str = "relu",
        dropout: float = 0.0,
        labels: int = 0,
    ) -> None:
        super().__init__()
        check_widths("hidden widths", hidden)
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a probability below 1, not {short_repr(dropout)}")
        self.shape = shape
        inwards = [prod(shape) + labels, *hidden]
        self.encoder = nn.Sequential(
            nn.Flatten(), *_hidden(inwards, activation, dropout), nn.Linear(inwards[-1], 2 * latent_dim)
        )
        outwards = [latent_dim + labels, *reversed(hidden)]
        self.decoder = nn.Sequential(
            *_hidden(outwards, activation, dropout),
            nn.Linear(outwards[-1], prod(shape)),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, dim=1)  # (B, 2 D) -> (B, D), (B, D)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(z)  # (B, C H W)
        return output.view(-1, *self.shape)  # (B, C, H, W)


def _hidden(widths: Sequence[int], activation: str, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), activation_layer(activation)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers
