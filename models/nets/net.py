"""The interface of an architecture: x -> posterior parameters, latents -> the likelihood's input."""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """An encoder and a decoder. The constructor takes (shape, latent_dim, **options), with options that JSON can hold.

    If `labels` is not None, it takes the option `labels`, too: so many values are appended to x and to z.
    """

    labels: ClassVar[Literal["planes", "numbers"] | None] = None  # how labels are appended to x; None: it takes none

    def append(self, values: Tensor, labels: Tensor) -> Tensor:
        """Append one-hot labels, (n, K), to x or z, (m n, ...): as planes of pictures, or as numbers of flat rows."""
        if len(values) % len(labels):
            raise ValueError(f"there are labels of {len(labels)} items, which do not fit {len(values)} items")
        own = labels.repeat(len(values) // len(labels), 1).to(values.dtype)  # (m n, K)
        if self.labels == "planes" and values.dim() == 4:
            planes = own[:, :, None, None].expand(-1, -1, *values.shape[2:])  # (m n, K, H, W)
            return torch.cat([values, planes], 1)  # (m n, C + K, H, W)
        return torch.cat([values.flatten(1), own], 1)  # (m n, D + K)

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's parameters: x (B, *shape) -> mu, logvar, (B, D) each."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's input: (B, D) -> (B, *shape) for pictures."""
