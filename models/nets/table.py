"""A dense net for rows of a table: it is told which cells are missing, and learns to do without some.

While it trains, the encoder sees only some of the cells, and the likelihood asks for all of them, as a denoising autoencoder
does (Vincent et al. 2008); this is what makes imputation good. Knows nothing of names or units.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from reprlib import repr as short_repr

import torch
from torch import Tensor, nn

from models.nets.layers import activation_layer, check_cardinalities, check_widths
from models.nets.net import Net

FARTHEST = 20.0  # Inputs are kept within so many standard deviations, so that one odd number does not drown all others.


class TableNet(Net):
    """Dense layers between the cells and the latents; the decoder has the hidden widths in reverse.

    The input has the numbers, a one for the category of each cell, and a one for each cell that is there. `drop_cells` is the
    largest share of a row's cells that are hidden in training, `dropout` the probability to drop a hidden unit.
    """

    source: Tensor  # (n,) the column of each input, ...
    category: Tensor  # (n,) ... and the category that it stands for; -1 for a number
    rand: Callable[..., Tensor]  # draws which cells are hidden

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        cardinalities: Sequence[int],
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
        drop_cells: float = 0.5,
    ) -> None:
        super().__init__()
        check_widths("hidden widths", hidden)
        for name, share in (("dropout", dropout), ("drop_cells", drop_cells)):
            if type(share) not in (int, float) or not 0 <= share < 1:
                raise ValueError(f"{name} must be a probability below 1, not {short_repr(share)}")
        if shape != (len(check_cardinalities(cardinalities)),):
            raise ValueError(f"cardinalities are {len(cardinalities)}, but a row has the shape {shape}")
        inputs = [
            (k, category)
            for k, size in enumerate(cardinalities)
            for category in (range(size) if size > 1 else [1 if size else -1])
        ]
        for name, values in zip(("source", "category"), zip(*inputs, strict=True), strict=True):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.drop_cells, self.rand = float(drop_cells), torch.rand
        inwards = [len(inputs) + len(cardinalities), *hidden]
        outwards = [latent_dim, *reversed(hidden)]
        self.encoder = nn.Sequential(*_hidden(inwards, activation, dropout), nn.Linear(inwards[-1], 2 * latent_dim))
        outputs = sum(size or 2 for size in cardinalities)
        self.decoder = nn.Sequential(*_hidden(outwards, activation, dropout), nn.Linear(outwards[-1], outputs))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = ~torch.isnan(x)  # (B, K)
        if self.training and self.drop_cells:
            share = self.drop_cells * self.rand(len(x), 1, device=x.device)
            seen = seen & (self.rand(*x.shape, device=x.device) >= share)
        cells, own = x[:, self.source], seen[:, self.source]  # (B, n)
        inputs = torch.where(self.category < 0, cells.clamp(-FARTHEST, FARTHEST), (cells == self.category).to(x.dtype))
        inputs = torch.where(own, inputs, torch.zeros_like(inputs))
        mu, logvar = self.encoder(torch.cat([inputs, seen.to(x.dtype)], 1)).chunk(2, dim=1)  # (B, n + K) -> (B, D), (B, D)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(z)  # (B, P)
        return output


def _hidden(widths: Sequence[int], activation: str, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), activation_layer(activation)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers
