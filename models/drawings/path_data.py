"""SVG path data ("M 10 10 C ...") -> polylines, all commands of SVG 1.1, relative and absolute. Knows nothing of XML."""

import math
import re
from reprlib import repr as short_repr

import numpy as np

from models.drawings.curves import arc, bezier
from models.drawings.polylines import Points

ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
_FOUND = r"[\s,]*+((?>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))"
NUMBER = re.compile(_FOUND)
# A line to a point, with its letter or without one. A number is never taken apart: "L11" is not "L1 1".
LINE = re.compile(rf"[\s,]*+([Ll]?){_FOUND}{_FOUND}")
FLAG = re.compile(r"[\s,]*([01])")  # flags of arcs may touch: "a1 1 0 00.5.5"
COMMAND = re.compile(r"[\s,]*([A-Za-z])")
BLANK = re.compile(r"[\s,]*")
# More would take the service long; a drawing has hundreds.
MOST_POINTS = 20_000
# Beyond this, sums of coordinates are inexact.
MOST_VALUE = 1e9


class PathDataError(ValueError):
    """The path data cannot be read; the message says where and why."""


def parse_path(text: str) -> list[Points]:
    """Return the sub-paths as polylines. Raises PathDataError."""
    return parse_counted(text, MOST_POINTS)[0]


def parse_counted(text: str, most: int) -> tuple[list[Points], int]:
    """Return the sub-paths, and how much they took of `most`: points, and commands without points. Raises PathDataError."""
    reader = _Reader(text)
    pen = _Pen(most)
    command = ""
    while not reader.at_end():
        if (letter := reader.command()) is not None:
            command = letter
            if command.upper() not in ARGUMENTS:
                raise reader.error(f"the command {command!r} is unknown; known: {' '.join(ARGUMENTS)}, and in lower case")
        elif command.upper() in ("", "Z"):
            raise reader.error("a command such as M or L must come first")
        if not pen.started and command.upper() != "M":
            raise reader.error(f"path data must begin with M or m, not {command}")
        pen.run(command, [reader.number(command, i) for i in range(ARGUMENTS[command.upper()])])
        if command in "Mm":  # More pairs after a move are lines.
            command = "L" if command == "M" else "l"
        if command in "Ll":
            command = reader.lines(command, pen)
    return pen.lines(), pen.count


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def at_end(self) -> bool:
        blank = BLANK.match(self.text, self.place)
        return blank is not None and blank.end() == len(self.text)

    def command(self) -> str | None:
        found = COMMAND.match(self.text, self.place)
        if found is None:
            return None
        self.place = found.end()
        return found[1]

    def number(self, command: str, index: int) -> float:
        found = (FLAG if command in "Aa" and index in (3, 4) else NUMBER).match(self.text, self.place)
        if found is None:
            rest = self.text[self.place :].strip()
            what = f"found {short_repr(rest)}" if rest else "the text ends"
            raise self.error(f"{command} takes {ARGUMENTS[command.upper()]} numbers, but {what}")
        value = float(found[1])
        if not math.isfinite(value) or abs(value) > MOST_VALUE:
            raise self.error(f"numbers must be from -{MOST_VALUE:g} to {MOST_VALUE:g}, not {found[1][:40]}")
        self.place = found.end()
        return value

    def lines(self, command: str, pen: "_Pen") -> str:
        """Draw lines as long as nothing else comes, which is most of most drawings, and return the last command."""
        places, place, at = list[complex](), pen.place, self.place
        for _ in range(pen.most - pen.count):
            if (found := LINE.match(self.text, at)) is None:
                break
            x, y = float(found[2]), float(found[3])
            if not (-MOST_VALUE <= x <= MOST_VALUE and -MOST_VALUE <= y <= MOST_VALUE):
                break  # Whoever reads numbers one by one says what is wrong.
            at, command = found.end(), found[1] or command
            place = place + complex(x, y) if command == "l" else complex(x, y)
            places.append(place)
        self.place = at
        pen.lines_to(places)
        return command

    def error(self, reason: str) -> PathDataError:
        return PathDataError(f"path data, character {self.place}: {reason}")


class _Pen:
    """Follows the commands. Places are complex numbers x + iy."""

    def __init__(self, most_points: int) -> None:
        self.place, self.first, self.control = 0j, 0j, 0j
        self.last = ""  # the command before, for the reflected control points of S and T
        self.started = False
        self.most, self.count = most_points, 0
        self.paths: list[list[complex]] = []

    def run(self, command: str, numbers: list[float]) -> None:
        kind, origin = command.upper(), self.place if command.islower() else 0j
        pairs = [origin + complex(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=False)]
        control = self.place
        if kind == "M":
            self.first = self.place = pairs[0]
            self.paths.append([self.place])
            self.started = True
            self._count(1)
        elif kind == "Z":
            self._add([self.first] if self.place != self.first else [])
            self.place = self.first
        elif kind == "L":
            self._add(pairs)
        elif kind == "H":
            self._add([complex(origin.real + numbers[0], self.place.imag)])
        elif kind == "V":
            self._add([complex(self.place.real, origin.imag + numbers[0])])
        elif kind == "A":
            end = origin + complex(*numbers[5:])
            large, sweep = numbers[3] == 1, numbers[4] == 1
            self._add(arc(self.place, complex(numbers[0], numbers[1]), numbers[2], large, sweep, end))
            self.place = end
        else:
            smooth = {"S": "CS", "T": "QT"}.get(kind)
            if smooth is not None:
                mirrored = 2 * self.place - self.control if self.last and self.last in smooth else self.place
                pairs = [mirrored, *pairs]
            control = pairs[-2]
            self._add(bezier(self.place, *pairs))
        self.control, self.last = control, kind

    def lines_to(self, places: list[complex]) -> None:
        """Draw lines to some places, of which there are no more than there may be."""
        self.count += len(places)
        self.paths[-1] += places
        if places:
            self.place = self.control = places[-1]

    def lines(self) -> list[Points]:
        return [np.array(path, np.complex128).view(np.float64).reshape(-1, 2) for path in self.paths]

    def _add(self, places: list[complex]) -> None:
        if self.last == "Z" and places:  # A new sub-path begins where the closed one began.
            self.paths.append([self.first])
        self._count(max(1, len(places)))  # A command without a point takes its time, too.
        self.paths[-1] += places
        if places:
            self.place = places[-1]

    def _count(self, more: int) -> None:
        self.count += more
        if self.count > self.most:
            raise PathDataError(f"the drawing has more than {MOST_POINTS:,} points, curves included; use a simpler one")
