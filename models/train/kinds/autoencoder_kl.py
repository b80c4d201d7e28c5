"""Flags of the train command -> the options of the net AutoencoderKL. Knows nothing of data or of the training loop."""

import argparse
from math import gcd, prod
from typing import Any

from models.train.training_error import TrainingError

# As in the autoencoders of pictures that are known: each level halves the sides, and at most 32 groups are normalised.
CHANNELS, MOST_GROUPS, LEAST_OF_GROUP = [32, 32, 64, 64], 32, 4


def autoencoder_options(args: argparse.Namespace, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return the options for pictures (C, H, W); the number of latent channels follows from --latent-dim.

    Raises TrainingError.
    """
    if args.hidden or args.dropout or args.activation not in (None, "silu"):
        raise TrainingError("--arch autoencoder_kl takes no --hidden, --dropout or --activation: leave them out")
    widths = args.conv_channels or CHANNELS
    factor = 2 ** (len(widths) - 1)
    sides = shape[1] // factor, shape[2] // factor
    if shape[1] % factor or shape[2] % factor:
        raise TrainingError(
            f"--arch autoencoder_kl with {len(widths)} --conv-channels halves the sides {len(widths) - 1} times, and "
            f"{shape[1]} x {shape[2]} pixels are no multiples of {factor}: choose another --size, or fewer --conv-channels"
        )
    if args.latent_dim % prod(sides):
        raise TrainingError(
            f"latents of --arch autoencoder_kl have {sides[0]} x {sides[1]} places here, so --latent-dim must be a multiple "
            f"of {prod(sides)}, such as {4 * prod(sides)} for 4 channels, not {args.latent_dim}"
        )
    return {
        "block_out_channels": list(widths),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": 1,
        "latent_channels": args.latent_dim // prod(sides),
        "norm_num_groups": min(MOST_GROUPS, max(1, gcd(*widths) // LEAST_OF_GROUP)),
    }
