"""What a VAE is and how it learns; usable in a notebook, knows nothing of HTTP.

>>> vae = models.load("models/weights/mnist")
>>> posterior = vae.encode(x)           # x: (B, 1, 28, 28), floats in [0, 1] or uint8
>>> posterior.mu, posterior.sigma       # (B, 20) each
>>> vae.decode(posterior.mu).mean       # (B, 1, 28, 28)
"""

from models.checkpoint import CheckpointError, load, save
from models.vae import VAE, VAEConfig

__all__ = ["VAE", "CheckpointError", "VAEConfig", "load", "save"]
