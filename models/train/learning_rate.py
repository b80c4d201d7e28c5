"""The learning rate of a step, as a function of the step, so that a run can be resumed."""

import argparse
import math


def learning_rate(args: argparse.Namespace, share: float) -> float:
    """Return the rate after a `share` of all steps: constant, or half a cosine to 0 (arXiv:1608.03983), or a staircase.

    The cosine is that of Loshchilov & Hutter 2017. The staircase has stages i = 0..7 of 3^i parts at --lr x 10^(-i/7) (Burda
    et al. 2016, arXiv:1509.00519, section 5).
    """
    if args.schedule == "cosine":
        return float(args.lr * 0.5 * (1 + math.cos(math.pi * share)))
    stage = min(7, math.floor(math.log(2 * 3280 * share + 1, 3) + 1e-9)) if args.schedule == "staircase" else 0
    return float(args.lr * 10 ** (-stage / 7))
