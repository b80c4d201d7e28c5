"""An SVG file, or path data alone -> polylines: the outlines of its shapes, with their transforms.

Hostile files are refused: a document type with declarations (entities), too many bytes, too deep, too many points. Nothing is
ever fetched. Fills, stroke widths, text, pictures and `use` are not read. Knows nothing of models.
"""

from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import NamedTuple
from xml.parsers import expat

import numpy as np

from models.drawings.curves import ellipse
from models.drawings.path_data import MOST_POINTS, MOST_VALUE, NUMBER, PathDataError, parse_counted, parse_path
from models.drawings.polylines import Points
from models.drawings.transforms import IDENTITY, Matrix, TransformError, apply, checked, parse_transform

MOST_BYTES = 4 << 20
MOST_DEPTH = 100
MOST_ELEMENTS, MOST_ATTRIBUTES, MOST_TRANSFORMS = 20_000, 50_000, 10_000
# The encodings that an XML declaration may name.
ENCODINGS = (
    "utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "iso-8859-2",
    "iso-8859-15", "windows-1250", "windows-1251", "windows-1252", "cp1252",
)  # fmt: skip
# What is inside these elements is not drawn where it stands.
HIDDEN = ("clipPath", "defs", "marker", "mask", "metadata", "pattern", "script", "style", "symbol", "title", "desc")
NOT_READ = ("foreignObject", "image", "text", "use")
SHAPES = ("circle", "ellipse", "line", "path", "polygon", "polyline", "rect")


class SvgError(ValueError):
    """The SVG cannot be read; the message says why."""


class Svg(NamedTuple):
    """The polylines of a file, and how many elements of each kind were left out."""

    polylines: list[Points]
    left_out: dict[str, int]


def read_svg(content: bytes | str) -> Svg:
    """Return the drawing of an SVG file, or of path data such as "M0 0L9 9". Raises SvgError."""
    data = content.encode() if isinstance(content, str) else content
    if len(data) > MOST_BYTES:
        raise SvgError(f"the SVG has {len(data):,} bytes; at most {MOST_BYTES:,} are allowed: use a simpler drawing")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise SvgError("the SVG is empty: send an SVG file, or path data such as 'M0 0L9 9'")
    if start[:1] in b"Mm":
        try:
            return Svg(_checked(parse_path(start.decode("ascii", "replace"))), {})
        except PathDataError as error:
            raise SvgError(str(error)) from None
    return _Document().read(data)


class _Document:
    def __init__(self) -> None:
        self.polylines: list[Points] = []
        self.left_out: dict[str, int] = {}
        self._matrices: list[Matrix] = []
        self._hidden = 0  # depth inside what is not drawn
        self._points = self._elements = self._transforms = 0

    def read(self, data: bytes) -> Svg:
        if (count := data.count(b"=")) > MOST_ATTRIBUTES:  # Expat reads all attributes of an element before it tells of any.
            raise SvgError(f"the SVG has {count:,} attributes; at most {MOST_ATTRIBUTES:,} are allowed: use a simpler drawing")
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.XmlDeclHandler = _refuse_encodings
        parser.StartDoctypeDeclHandler = _refuse_declarations
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise SvgError(f"not a well-formed SVG file: {error}") from None
        if not self.polylines:
            raise SvgError(f"the SVG has nothing to draw: none of {', '.join(SHAPES)}{self._told()}")
        return Svg(_checked(self.polylines), self.left_out)

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        if not self._matrices and name != "svg":
            raise SvgError(f"the root of an SVG file is 'svg', not {name[:40]!r}")
        if len(self._matrices) >= MOST_DEPTH:
            raise SvgError(f"elements are nested more than {MOST_DEPTH} deep; use a simpler drawing")
        transform = attributes.get("transform", "")
        self._elements += 1
        self._transforms += transform.count("(")
        if self._elements > MOST_ELEMENTS:
            raise SvgError(f"the SVG has more than {MOST_ELEMENTS:,} elements; use a simpler drawing")
        if self._transforms > MOST_TRANSFORMS:
            raise SvgError(f"the SVG has more than {MOST_TRANSFORMS:,} transforms; use a simpler drawing")
        above = self._matrices[-1] if self._matrices else IDENTITY
        if self._hidden or name in HIDDEN or attributes.get("display") == "none":
            self._hidden += 1
            self._matrices.append(above)
            return
        try:
            matrix = checked(above @ parse_transform(transform), "the transforms of the elements around it together")
            self._matrices.append(matrix)
            if name in SHAPES:
                lines, count = _shape(name, attributes, MOST_POINTS - self._points)
                self._points += count
                self.polylines += [apply(matrix, line) for line in lines]
        except (PathDataError, TransformError) as error:
            raise SvgError(f"the element '{name}': {error}") from None
        if name in NOT_READ:
            self.left_out[name] = self.left_out.get(name, 0) + 1
        if self._points > MOST_POINTS:
            raise SvgError(f"the drawing has more than {MOST_POINTS:,} points, curves included; use a simpler one")

    def _end(self, _name: str) -> None:
        self._matrices.pop()
        self._hidden = max(0, self._hidden - 1)

    def _told(self) -> str:
        return "".join(f"; {count} '{name}' not read" for name, count in self.left_out.items())


def _refuse_encodings(_version: str, encoding: str | None, _standalone: int) -> None:
    """Raise SvgError before the parser asks Python for a codec, which may be any, and whose name would be kept for ever."""
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise SvgError(
            f"the encoding {short_repr(encoding)} of the XML declaration is not known: save the file as UTF-8; known are "
            f"{', '.join(ENCODINGS)}"
        )


def _refuse_declarations(_name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
    if has_subset:
        raise SvgError("the document type has declarations, which may define entities; remove the part in [ ] of <!DOCTYPE")


def _shape(name: str, attributes: Mapping[str, str], most: int) -> tuple[list[Points], int]:
    """Return the polylines of one element, and how many of the `most` points they take."""
    if name == "path":
        data = attributes.get("d", "")
        return parse_counted("" if data.strip() == "none" else data, most)
    lines = _plain_shape(name, attributes)
    return lines, sum(map(len, lines))


def _plain_shape(name: str, attributes: Mapping[str, str]) -> list[Points]:
    if name in ("polyline", "polygon"):
        words = attributes.get("points", "").replace(",", " ").split()
        if len(words) > 2 * MOST_POINTS:
            raise SvgError(f"the element '{name}' has more than {MOST_POINTS:,} points; use a simpler one")
        numbers = [_number(name, "points", word) for word in words]
        points = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2)
        return [np.concatenate([points, points[:1]]) if name == "polygon" else points] if len(points) else []
    value = {key: _number(name, key, attributes.get(key, "0")) for key in _KEYS[name] if key in attributes}
    x, y = value.get("x", 0.0), value.get("y", 0.0)
    if name == "line":
        return [np.array([[value.get("x1", 0.0), value.get("y1", 0.0)], [value.get("x2", 0.0), value.get("y2", 0.0)]])]
    if name == "rect":
        w, h = value.get("width", 0.0), value.get("height", 0.0)
        return [np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]])] if w > 0 and h > 0 else []
    center = complex(value.get("cx", 0.0), value.get("cy", 0.0))
    rx, ry = value.get("rx", value.get("r", 0.0)), value.get("ry", value.get("r", 0.0))
    return [ellipse(center, rx, ry)] if rx > 0 and ry > 0 else []


_KEYS = {
    "line": ("x1", "y1", "x2", "y2"),
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}


def _number(name: str, key: str, text: str) -> float:
    text = text.strip()
    found = NUMBER.match(text)
    # The rest is compared, not matched: a pattern of the whole would go back and forth in long runs of blanks or digits.
    value = float(found[1]) if found and text[found.end() :].lstrip() in ("", "px") else np.nan
    if not abs(value) <= MOST_VALUE:
        raise SvgError(f"the element '{name}': {key} must be a number without a unit or in px, not {text[:40]!r}")
    return value


def _checked(polylines: list[Points]) -> list[Points]:
    """Return the polylines. Raises SvgError if transforms made their coordinates too large."""
    lines = [line for line in polylines if len(line)]
    if not lines:
        raise SvgError("the path has no points")
    for line in lines:
        if not (np.abs(line) <= MOST_VALUE).all():
            raise SvgError(f"coordinates must be from -{MOST_VALUE:g} to {MOST_VALUE:g} after all transforms")
    return lines
