"""The `transform` attribute of SVG -> a matrix. Knows nothing of XML or paths."""

import math
import re
from reprlib import repr as short_repr

import numpy as np
from numpy.typing import NDArray

from models.drawings.polylines import Points

Matrix = NDArray[np.float64]  # (3, 3)
CALL = re.compile(r"[\s,]*([A-Za-z]+)\s*\(([^()]*)\)")
COUNTS = {"matrix": (6,), "translate": (1, 2), "scale": (1, 2), "rotate": (1, 3), "skewX": (1,), "skewY": (1,)}
MOST_FACTOR = 1e9
MOST_TRANSFORMS = 100  # in one attribute
IDENTITY: Matrix = np.eye(3)


class TransformError(ValueError):
    """The transform cannot be read; the message says why."""


def parse_transform(text: str) -> Matrix:
    """Return the matrix of a list of transforms. Raises TransformError."""
    if (count := text.count("(")) > MOST_TRANSFORMS:
        raise TransformError(f"the attribute has {count:,} transforms; at most {MOST_TRANSFORMS} are allowed: join them")
    matrix, place, end = IDENTITY, 0, len(text.rstrip(" \t\r\n,"))
    while place < end:
        found = CALL.match(text, place)
        if found is None:
            raise TransformError(f"the transform {short_repr(text)} is not a list such as 'translate(10 20) scale(2)'")
        matrix = matrix @ _one(found[1], found[2])
        checked(matrix, f"the transform {short_repr(text)}")
        place = found.end()
    return matrix


def checked(matrix: Matrix, what: str) -> Matrix:
    """Return a product of two matrices. Raises TransformError, which begins with `what`, if its factors are too large."""
    if not (np.abs(matrix) <= MOST_FACTOR).all():
        raise TransformError(f"{what}: a factor is above {MOST_FACTOR:g}")
    return matrix


def apply(matrix: Matrix, points: Points) -> Points:
    """Return the transformed points, (P, 2)."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _one(name: str, arguments: str) -> Matrix:
    try:
        numbers = [float(word) for word in arguments.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if name not in COUNTS:
        raise TransformError(f"the transform {short_repr(name)} is unknown; known: {', '.join(COUNTS)}")
    if len(numbers) not in COUNTS[name] or not all(abs(number) <= MOST_FACTOR for number in numbers):
        wanted = " or ".join(map(str, COUNTS[name]))
        raise TransformError(f"the transform {name} takes {wanted} numbers up to {MOST_FACTOR:g}, not {short_repr(arguments)}")
    if name == "matrix":
        a, b, c, d, e, f = numbers
        return np.array([[a, c, e], [b, d, f], [0, 0, 1.0]])
    if name == "translate":
        return _shift(numbers[0], numbers[1] if len(numbers) == 2 else 0.0)
    if name == "scale":
        return np.diag([numbers[0], numbers[-1], 1.0])
    angle = math.radians(numbers[0])
    if name == "skewX":
        return np.array([[1, math.tan(angle), 0], [0, 1, 0], [0, 0, 1.0]])
    if name == "skewY":
        return np.array([[1, 0, 0], [math.tan(angle), 1, 0], [0, 0, 1.0]])
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1.0]])
    return turn if len(numbers) == 1 else _shift(*numbers[1:]) @ turn @ _shift(-numbers[1], -numbers[2])


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
