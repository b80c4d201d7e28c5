"""Types of the flags of training and evaluation: each turns a text of the command line into a value, or says what is wrong."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.model_name import RULE, is_name
from models.preprocess import checked_range


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser of integers that are at least `least`."""

    def parse_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
        return number

    return parse_number


def positive(kind: type[Any], zero: bool = False) -> Any:
    """Return a parser of finite numbers above 0, or from 0 on if `zero`."""

    def parse_number(text: str) -> Any:
        number = kind(text)
        if not (number > 0 or (zero and number == 0)) or number == float("inf"):
            raise argparse.ArgumentTypeError(f"must be {'at least 0' if zero else 'above 0'}, not {text}")
        return number

    return parse_number


def out_directory(text: str) -> Path:
    """Return the directory of a checkpoint. The service offers a model under the last part of its path."""
    name = os.path.basename(os.path.abspath(text))
    if not is_name(name):
        raise argparse.ArgumentTypeError(f"the directory would be the name of the model, and {name!r} is not valid: {RULE}")
    return Path(text)


def share(text: str) -> float:
    """Return a share: at least 0 and below 1."""
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return share


def seed(text: str) -> int:
    """Return a seed: 0 to 2^53 - 1."""
    seed = int(text)
    if not 0 <= seed < 2**53:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2^53 - 1, not {text}")
    return seed


def yes_no(text: str) -> bool:
    """Return whether the text says yes."""
    if text.lower() not in ("yes", "no", "true", "false"):
        raise argparse.ArgumentTypeError(f"must be yes or no, not {text}")
    return text.lower() in ("yes", "true")


def widths(text: str) -> list[int]:
    """Return whole numbers that are separated by commas."""
    return [int(width) for width in text.split(",") if width]


def size(text: str) -> list[int]:
    """Return height and width, written as 64x48, or as 64 for both."""
    sides = [int(side) for side in text.lower().split("x")]
    height, width = sides * 2 if len(sides) == 1 else sides
    if height < 1 or width < 1:
        raise argparse.ArgumentTypeError(f"must be height x width, such as 64x48, or one number, not {text}")
    return [height, width]


def range_of(text: str) -> list[float]:
    """Return the lowest and the highest value, written as LO,HI."""
    try:
        return list(checked_range([float(word) for word in text.split(",")]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def sigma(text: str) -> float | str:
    """Return a number, or the words "learned" or "optimal"."""
    return text if text in ("learned", "optimal") else float(text)
