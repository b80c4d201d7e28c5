"""The registry of architectures: it maps a name in the configuration to a constructor.

To add an architecture, add one file in this folder and one line below. Knows nothing of likelihoods or objectives.
"""

from collections.abc import Callable, Mapping
from typing import Any

from models.nets.conv import Conv
from models.nets.gated import Gated
from models.nets.mlp import MLP
from models.nets.net import Net
from models.nets.residual import Residual

Shape = tuple[int, ...]  # that of a row; (C, H, W) for pictures


ARCHITECTURES: Mapping[str, Callable[..., Net]] = {
    "conv": Conv,
    "gated": Gated,
    "mlp": MLP,
    "residual": Residual,
}


def build_net(name: str, shape: Shape, latent_dim: int, options: Mapping[str, Any]) -> Net:
    """Build the net with that name. Raises ValueError for an unknown name, an unknown option, or a value out of range."""
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    try:
        return ARCHITECTURES[name](shape, latent_dim, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"architecture {name!r}: {error}") from None
