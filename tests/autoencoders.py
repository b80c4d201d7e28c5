"""A small AutoencoderKL as diffusers makes and saves it, with random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

FACTOR, CHANNELS, SIDE = 4, 4, 16


def autoencoder(**changed: Any) -> Any:
    """Return one whose sides are halved twice, for pictures of 16 x 16 pixels unless `sample_size` is changed."""
    widths = changed.pop("block_out_channels", (8, 16, 16))
    torch.manual_seed(0)
    known: dict[str, Any] = {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "norm_num_groups": 4,
        "sample_size": SIDE,
        "latent_channels": CHANNELS,
    }
    made: Any = AutoencoderKL(**{**known, **changed})
    return made.eval()


def save_autoencoder(directory: Path, **changed: Any) -> Any:
    """Write one into a directory, as diffusers does, and return it."""
    made = autoencoder(**changed)
    made.save_pretrained(directory)
    return made
