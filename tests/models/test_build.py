"""Constructors called with values of JSON: what is unknown, missing or no object is named in plain English."""

from dataclasses import dataclass
from typing import Any

import pytest

from models.build import build


@dataclass
class Point:
    """A constructor."""

    label: str
    height: int
    width: int = 1


def anything(**options: Any) -> dict[str, Any]:
    """A constructor that takes all keys."""
    return options


def test_values_get_to_the_constructor() -> None:
    assert build(Point, {"height": 2}, "a point", "a") == Point("a", 2)
    assert build(Point, {"label": "a", "width": 3}, "a point", height=2) == Point("a", 2, 3)
    assert build(anything, {"any": 1}, "whatever") == {"any": 1}


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"height": 1, "widht": 2}, "a point has the unknown key 'widht'; did you mean 'width'?"),
        ({"height": 1, "depth" * 50: 2}, "known keys: height, width"),
        ({"height": 1, "label": "b"}, "a point has the unknown key 'label'; known keys: height, width"),
        ({}, "a point lacks the key 'height'"),
        ([1], "a point must be an object, not [1]"),
        (None, "a point must be an object, not None"),
    ],
)
def test_what_is_wrong_is_named(stored: Any, reason: str) -> None:
    with pytest.raises(ValueError, match="a point") as caught:
        build(Point, stored, "a point", "a")
    assert reason in str(caught.value)


def test_several_missing_keys() -> None:
    with pytest.raises(ValueError, match="it lacks the options 'label', 'height'"):
        build(Point, {}, "it", key="option")
