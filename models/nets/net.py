"""The interface of an architecture: pixels -> posterior parameters, latents -> the likelihood's input."""

from abc import abstractmethod

from torch import Tensor, nn


class Net(nn.Module):
    """An encoder and a decoder. The constructor takes (shape, latent_dim, **options), with options that JSON can hold."""

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's parameters: (B, C, H, W) in [0, 1] -> mu, logvar, (B, D) each."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's input: (B, D) -> (B, C, H, W)."""
