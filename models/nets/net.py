"""The interface of an architecture: x -> posterior parameters, latents -> the likelihood's input."""

from abc import abstractmethod

from torch import Tensor, nn


class Net(nn.Module):
    """An encoder and a decoder. The constructor takes (shape, latent_dim, **options), with options that JSON can hold."""

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's parameters: x (B, *shape) -> mu, logvar, (B, D) each."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's input: (B, D) -> (B, *shape) for pictures."""
