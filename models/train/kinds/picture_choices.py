"""Choose what the command line leaves open from the pictures of a run: likelihood, and the convolutional net.

Each choice comes with its reason. The numbers below were measured on small sets of faces, X-rays, drawings and emoji. Knows
nothing of models or of files.
"""

import argparse
from typing import NamedTuple

import torch
from torch import Tensor

from models.nets.conv import slim_channels

# Data sets whose published numbers are those of binarised pixels, although Fashion-MNIST has many greys (40 %).
BERNOULLI_BY_NAME = ("mnist", "fashion-mnist")
# Binary pictures have at most this share of values between 0.1 and 0.9 (MNIST: 9 %), ...
MIDDLE_SHARE = 0.25
# ... and redrawing each value as 0 or 1 makes at most this share of their variance (MNIST: 16 %, photographs: 60 to 90 %).
REDRAWN_SHARE = 0.25
BLOCK = 1000  # Pictures are looked at in blocks of so many.
SAMPLED_VALUES = 1 << 22  # The shares are measured on about so many values.
START = "first weights"  # the choice to start from the mean of the pictures
MEAN_PICTURES = 1000  # The mean of the pictures is measured on about so many.
# Pictures with a larger side than this get a net with fewer channels: at 105 x 105, steps then take a third of the time.
LARGE_SIDE = 48


class Values(NamedTuple):
    """How the values of grey pictures are spread: shares from 0 to 1."""

    middle: float  # of values between 0.1 and 0.9
    redrawn: float  # of the variance that comes from redrawing each value as 0 or 1, in the values so redrawn


def spread(x: Tensor) -> Values:
    """Measure the values of pictures, uint8 (N, C, H, W)."""
    step, first, counts = max(1, x.numel() // SAMPLED_VALUES), 0, torch.zeros(256, dtype=torch.int64)
    for block in x.split(BLOCK):
        counts += torch.bincount(block.flatten()[-first % step :: step], minlength=256).cpu()
        first += block.numel()
    share, value = counts.double() / counts.sum(), torch.arange(256).double() / 255
    mean = float((share * value).sum())
    noise = float((share * value * (1 - value)).sum())
    middle = float(share[(value > 0.1) & (value < 0.9)].sum())
    return Values(middle, noise / (mean * (1 - mean)) if 0 < mean < 1 else 0.0)


def choose_net(args: argparse.Namespace, x: Tensor) -> dict[str, str]:
    """Fill in the convolutional net's flags that were left open, and return the reasons.

    Measured on new drawings with 3,000 to train on, in shares of the squared error of the mean picture. 28 x 28, 2,000 steps:
    0.43 with 20 dimensions behind a dense layer of 192, 0.39 with 64 behind it, 0.21 with 64 and no such layer. 105 x 105:
    0.71 with 20 behind the layer after 1,200 steps, 0.43 with 64 and no layer after 1,000. The same drawings in dark on
    light had 0.75 after 1,000 steps, and 0.41 when the biases started from the mean.
    """
    reasons = {}
    if args.hidden is None:
        args.hidden = [0]
        reasons["hidden"] = "no dense layer before the latents, because fine details and new pictures come out better without"
    side = max(x.shape[2:])
    if args.conv_channels is None and side > LARGE_SIDE:
        args.conv_channels = slim_channels((x.shape[1], x.shape[2], x.shape[3]))
        reasons["channels"] = f"few channels, so that steps are fast: the larger side is {side} pixels, more than {LARGE_SIDE}"
    shown = ", ".join(f"{float(value):.2f}" for value in mean_values(x))
    reasons[START] = (
        f"the biases start from the mean of the pictures, {shown}, so that dark on light learns like light on dark"
    )
    return reasons


def mean_values(x: Tensor) -> Tensor:
    """Return the mean of each channel in [0, 1], measured on about MEAN_PICTURES pictures: uint8 (N, C, H, W) -> (C,)."""
    some = x[:: max(1, len(x) // MEAN_PICTURES)].cpu()
    return torch.stack([some[:, channel].double().mean() for channel in range(x.shape[1])]) / 255


def choose_likelihood(args: argparse.Namespace, x: Tensor) -> tuple[str, str]:
    """Return the likelihood and the reason for it."""
    if x.shape[1] == 3:
        return "gaussian", "gaussian, because the pictures have colours"
    if args.objective == "perceptual":
        return "gaussian", "gaussian, because --objective perceptual compares greys as they are"
    if args.binarize == "dynamic":
        return "bernoulli", "bernoulli, because --binarize dynamic makes every value 0 or 1"
    if args.data in BERNOULLI_BY_NAME:
        return "bernoulli", f"bernoulli, as in the published results for {args.data}"
    values = spread(x)
    middle = f"{100 * values.middle:.0f} % of the values lie between 0.1 and 0.9"
    redrawn = f"redrawing them as 0 or 1 would make {100 * values.redrawn:.0f} % of the variance"
    binary = values.middle <= MIDDLE_SHARE and values.redrawn <= REDRAWN_SHARE
    if args.preset:
        warning = "" if binary else f"; but {middle}: --likelihood gaussian would fit these pictures better"
        return "bernoulli", f"bernoulli, as the preset {args.preset} has it{warning}"
    if binary:
        return "bernoulli", f"bernoulli, because only {middle}: the pictures are nearly binary"
    return "gaussian", f"gaussian, because the pictures are greys: {middle}, and {redrawn}"
