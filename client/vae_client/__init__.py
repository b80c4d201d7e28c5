"""A client of the VAE service: `with Client("http://localhost:8000") as client: client.encode("seven.png").mu`."""

from vae_client.async_client import AsyncClient
from vae_client.client import Client
from vae_client.errors import (
    AccessDenied,
    BatchFailed,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    ModelChanged,
    NoAnswer,
    NotFound,
    Overloaded,
    ProblemError,
    ServiceFailed,
    StoreFull,
    Unavailable,
    UnexpectedAnswer,
    VaeError,
)
from vae_client.results import Added, Collection, Item, Model, Neighbor, Neighbors, Pictures, PictureWarning, Posteriors
from vae_client.version import __version__

__all__ = [
    "AccessDenied",
    "Added",
    "AsyncClient",
    "BatchFailed",
    "Client",
    "Collection",
    "Conflict",
    "DeadlineExceeded",
    "InvalidRequest",
    "Item",
    "Model",
    "ModelChanged",
    "Neighbor",
    "Neighbors",
    "NoAnswer",
    "NotFound",
    "Overloaded",
    "PictureWarning",
    "Pictures",
    "Posteriors",
    "ProblemError",
    "ServiceFailed",
    "StoreFull",
    "Unavailable",
    "UnexpectedAnswer",
    "VaeError",
    "__version__",
]
