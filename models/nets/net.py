"""What an architecture is to a VAE: pixels to posterior parameters, latents to what the likelihood takes."""

from abc import abstractmethod

from torch import Tensor, nn


class Net(nn.Module):
    """Constructor: (shape, latent_dim, **options), with options that JSON can hold."""

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [0, 1] -> mu, logvar, (B, D) each."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """(B, D) -> the likelihood's input, (B, C, H, W)."""
