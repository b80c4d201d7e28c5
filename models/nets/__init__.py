"""The registry of architectures: it maps a name in the configuration to a constructor.

To add an architecture, add one file in this folder and one line below. Knows nothing of likelihoods or objectives.
"""

from collections.abc import Mapping
from typing import Any

from models.build import build
from models.nets.autoencoder_kl import AutoencoderKL
from models.nets.conv import Conv
from models.nets.gated import Gated
from models.nets.lstm import LSTM
from models.nets.mlp import MLP
from models.nets.net import Net
from models.nets.residual import Residual
from models.nets.table import TableNet

Shape = tuple[int, ...]  # that of a row; (C, H, W) for pictures


ARCHITECTURES: Mapping[str, type[Net]] = {
    "autoencoder_kl": AutoencoderKL,
    "conv": Conv,
    "gated": Gated,
    "lstm": LSTM,
    "mlp": MLP,
    "residual": Residual,
    "table": TableNet,
}


def takes_condition(name: str) -> bool:
    """Return whether the net with that name can be told a label of each item."""
    return ARCHITECTURES[name].labels is not None


def build_net(name: str, shape: Shape, latent_dim: int, options: Mapping[str, Any], labels: int = 0) -> Net:
    """Build the net with that name, which takes one of `labels` values beside x and z; 0: none.

    Raises ValueError for an unknown name, an unknown option, a value out of range, or a net that takes no labels.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    if "labels" in options:
        raise ValueError(f"architecture {name!r}: unknown option 'labels'; a condition sets it")
    if labels and ARCHITECTURES[name].labels is None:
        able = ", ".join(sorted(known for known, net in ARCHITECTURES.items() if net.labels))
        raise ValueError(f"architecture {name!r} takes no condition; those that do: {able}")
    told = {} if ARCHITECTURES[name].labels is None else {"labels": labels}
    try:
        return build(ARCHITECTURES[name], options, "it", shape, latent_dim, key="option", **told)
    except ValueError as error:
        raise ValueError(f"architecture {name!r}: {error}") from None
