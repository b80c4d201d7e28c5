"""Types of the flags of training and evaluation: each turns a text of the command line into a value, or says what is wrong."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.condition import LABEL, MOST_CHARACTERS
from models.distributions import SIGMA_CEILING, SIGMA_FLOOR
from models.kinds.picture import MAX_SIDE
from models.model_name import RULE, is_name
from models.nets.layers import MAX_WIDTH
from models.preprocess import checked_range
from models.readers.path_names import storable


def _wrong(rule: str, text: str) -> argparse.ArgumentTypeError:
    """Return the error for a text that breaks a rule, such as "a whole number above 0"."""
    return argparse.ArgumentTypeError(f"must be {rule}, not {text.strip()[:100] or 'empty'}")


def _read(kind: type[Any], text: str, rule: str) -> Any:
    """Return the number that is written in a text. Without this, argparse would show the name of a function here."""
    try:
        return kind(text)
    except ValueError:
        raise _wrong(rule, text) from None


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of integers from `least` to `most`."""

    def parse_number(text: str) -> int:
        number = _read(int, text, rule := f"a whole number from {least:,} to {most:,}")
        if not least <= number <= most:
            raise _wrong(rule, text)
        return int(number)

    return parse_number


def positive(zero: bool = False) -> Callable[[str], float]:
    """Return a parser of finite numbers above 0, or from 0 on if `zero`."""

    def parse_number(text: str) -> float:
        number = _read(float, text, rule := f"a number{', at least 0' if zero else ' above 0'}")
        if not (number > 0 or (zero and number == 0)) or number == float("inf"):
            raise _wrong(rule, text)
        return float(number)

    return parse_number


def out_directory(text: str) -> Path:
    """Return the directory of a checkpoint. The service offers a model under the last part of its path."""
    name = os.path.basename(os.path.abspath(text))
    if not is_name(name):
        raise argparse.ArgumentTypeError(f"the directory would be the name of the model, and {name!r} is not valid: {RULE}")
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text} is a file, not a directory")
    return Path(text)


def share(text: str) -> float:
    """Return a share: at least 0 and below 1."""
    share: float = _read(float, text, rule := "a number, at least 0 and below 1")
    if not 0 <= share < 1:
        raise _wrong(rule, text)
    return share


def seed(text: str) -> int:
    """Return a seed: 0 to 2^53 - 1."""
    seed: int = _read(int, text, rule := "a whole number from 0 to 2^53 - 1")
    if not 0 <= seed < 2**53:
        raise _wrong(rule, text)
    return seed


def yes_no(text: str) -> bool:
    """Return whether the text says yes."""
    if text.lower() not in ("yes", "no", "true", "false"):
        raise _wrong("yes or no", text)
    return text.lower() in ("yes", "true")


def widths(text: str) -> list[int]:
    """Return whole numbers above 0 that are separated by commas."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not all(0 < number <= MAX_WIDTH for number in numbers or [0]):
        raise _wrong(f"a whole number from 1 to {MAX_WIDTH:,}, or several with commas, such as 500,500", text)
    return numbers


def hidden(text: str) -> list[int]:
    """Return widths of hidden layers; 0 is for none, in nets of convolutions."""
    return [0] if text == "0" else widths(text)


def size(text: str) -> list[int]:
    """Return height and width, written as 64x48, or as 64 for both."""
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or not all(0 < side <= MAX_SIDE for side in sides):
        raise _wrong(f"height x width, such as 64x48, or one number, up to {MAX_SIDE:,}", text)
    return [sides[0], sides[-1]]


def file_name(text: str) -> str:
    """Return the name of a file, which JSON can hold."""
    if not text:
        raise _wrong("the name of a file", text)
    return storable(text)


def range_of(text: str) -> list[float]:
    """Return the lowest and the highest value, written as LO,HI."""
    try:
        return list(checked_range([float(word) for word in text.split(",")]))
    except ValueError:
        raise _wrong("LO,HI, two numbers of which the first is smaller, such as 0,4095", text) from None


def sigma(text: str) -> float | str:
    """Return a number that a Gaussian likelihood takes, or the words "learned" or "optimal"."""
    if text in ("learned", "optimal"):
        return text
    number = float(_read(float, text, rule := f"a number from 1/255 to {SIGMA_CEILING:g}, learned or optimal"))
    if not SIGMA_FLOOR <= number <= SIGMA_CEILING:
        raise _wrong(rule, text)
    return number


def condition_key(text: str) -> str:
    """Return the key of a condition: "label" for the labels of the data set, or the name of a factor."""
    key = text.strip()
    if not 0 < len(key) <= MOST_CHARACTERS:
        raise _wrong(f"label or the name of a factor, with up to {MOST_CHARACTERS} characters", text)
    return LABEL if key == "labels" else key
