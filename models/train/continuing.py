"""Give a run that is resumed a longer schedule. Knows nothing of models or pictures."""

import argparse
from collections.abc import Mapping
from typing import Any

from models.train.resume import ResumeError

LENGTHS = ("epochs", "steps")


def lengthen(args: argparse.Namespace, started: dict[str, Any]) -> None:
    """Accept a larger --epochs or --steps than `started` has, and update `started`; raise ResumeError for a smaller one.

    `args.lengthened` gets the lengths so far, the oldest first: the learning rate follows the new length from the step where
    the run stands, and the warm-up keeps the number of steps that it had at first.
    """
    changed = {name: getattr(args, name) for name in LENGTHS if getattr(args, name) != started.get(name)}
    if not changed:
        return
    unit = "steps" if started.get("steps") else "epochs"
    if set(changed) != {unit}:
        raise ResumeError(
            f"the run in {args.out} was started with --{unit} {started[unit]}: its length is in {unit}, so to make "
            f"it longer, give --{unit} above {started[unit]}"
        )
    if changed[unit] < started[unit]:
        raise ResumeError(
            f"--{unit} is {changed[unit]}, but the run in {args.out} was started with {started[unit]}: a run can only become "
            "longer"
        )
    args.lengthened = [*(args.lengthened or []), started[unit]]
    args.now_longer = True
    started[unit] = changed[unit]


def first_length(args: argparse.Namespace) -> Mapping[str, Any]:
    """Return the epochs and steps with which the run was started."""
    lengths = {name: getattr(args, name) for name in LENGTHS}
    if args.lengthened:
        lengths["steps" if args.steps else "epochs"] = args.lengthened[0]
    return lengths


def told(args: argparse.Namespace) -> str:
    """Say what happened to the schedule, or return "" if the run kept its length."""
    if not args.lengthened:
        return ""
    unit = "steps" if args.steps else "epochs"
    rate = {
        "cosine": "the learning rate follows the cosine of the new length, so it rises again and falls to 0 at the new end",
        "staircase": "the learning rate follows the staircase of the new length, so it may rise again",
    }.get(args.schedule, "the learning rate stays constant")
    return (
        f"longer schedule: {getattr(args, unit)} {unit} instead of {args.lengthened[-1]}; {rate}; the warm-up is not repeated"
    )
