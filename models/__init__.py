"""The VAE model and its training; usable in a notebook. Knows nothing of HTTP.

>>> vae = models.load("models/weights/mnist")
>>> posterior = vae.encode(x)           # x: (B, 1, 28, 28), floats in [0, 1] or uint8
>>> posterior.mu, posterior.sigma       # (B, 20) each
>>> vae.decode(posterior.mu).mean       # (B, 1, 28, 28)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.checkpoint import CheckpointError, load, save
    from models.vae import VAE, VAEConfig

__all__ = ["VAE", "CheckpointError", "VAEConfig", "load", "save"]

# Imported on first use, because torch takes seconds to import and models.preprocess does not need it.
_HOMES = {
    "VAE": "models.vae",
    "VAEConfig": "models.vae",
    "CheckpointError": "models.checkpoint",
    "load": "models.checkpoint",
    "save": "models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
