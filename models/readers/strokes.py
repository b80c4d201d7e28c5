"""Read drawings as strokes: npz (all points in one array, with offsets), ndjson of QuickDraw, or a folder of SVG files.

What is inferred is said; what is left out is counted and named. Pickled objects are never read. Knows nothing of models.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.drawings.path_data import MOST_VALUE
from models.drawings.polylines import Drawing, extent, to_polylines, to_stroke3
from models.drawings.simplify import to_length
from models.drawings.svg_file import MOST_BYTES, SvgError, read_svg
from models.files.plain_json import parse_json
from models.kinds.strokes import END, MOST_POINTS, BadDrawing, StrokeFormat
from models.readers.array_files import Stored, open_arrays, reading
from models.readers.download import DataError
from models.readers.found import Found, Unread, class_numbers, numbered
from models.readers.layout import TRAIN, arrange, class_lines, split_of
from models.readers.left_out import LeftOut, plural
from models.readers.memory import check_memory
from models.readers.named_files import content_of, named_files
from models.readers.path_names import shown

# Longer drawings are simplified, unless --max-length allows them: the time of a batch is that of its longest row.
LONGEST = 250
MOST_LINE = 16 << 20  # bytes of one line of ndjson
STROKES, OFFSETS = "strokes", "offsets"
LAYOUT = (
    "`train_strokes` int16 (points, 3), all drawings one after the other as (dx, dy, pen lifted 0 or 1), and `train_offsets` "
    "(drawings + 1,): drawing i is strokes[offsets[i]:offsets[i + 1]]"
)
CONVERT = (
    "convert the file once, on a machine where you trust it: d = numpy.load(path, allow_pickle=True, encoding='latin1'); for "
    "each split: numpy.concatenate(list(d[split])) as `<split>_strokes` and numpy.cumsum([0] + [len(s) for s in d[split]]) as "
    "`<split>_offsets`, written with numpy.savez_compressed"
)


@dataclass
class Raw:
    """Drawings of a source, with the split and the label of each; None where there is none."""

    drawings: list[Drawing] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # see `Found.names`
    places: list[str] = field(default_factory=list)  # for messages: "line 3"
    unread: list[Unread] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    remarks: list[str] = field(default_factory=list)


def read_strokes(path: Path, max_length: int | None = None, model: StrokeFormat | None = None) -> Found:
    """Read drawings into float32 rows (N, T, 3), in the order of the source. Raises DataError.

    `max_length`: points of the longest drawing (None: that of the data, at most LONGEST); longer ones are simplified.
    `model`: the preparation of a trained model, which is then used as it is.
    """
    raw, trained = _read(path), model is not None
    where = shown(path)
    if not raw.drawings:
        raise DataError(f"{where}: has no drawings; {'; '.join(raw.left_out.lines()) or 'it is empty'}")
    counts = np.array([len(drawing) for drawing in raw.drawings])
    if model is None:
        longest = min(int(counts.max()), LONGEST) if max_length is None else max_length
        if not 0 < longest <= MOST_POINTS:
            raise DataError(f"--max-length must be from 1 to {MOST_POINTS}, not {longest}")
        training = [one for one, split in zip(raw.drawings, raw.splits, strict=True) if split in (None, TRAIN)]
        model = _measured(training or raw.drawings, longest, where)
    check_memory(12 * len(counts) * model.max_length, "the drawings")
    simplified = int((counts > model.max_length).sum())
    shortened, kept = _shortened(raw, model.max_length)
    if not shortened:
        raise DataError(f"{where}: has no drawings that can be used; {'; '.join(raw.left_out.lines())}")
    x = np.zeros((len(shortened), model.max_length, 3), np.float32)
    x[..., 2] = END
    for row, drawing in zip(x, shortened, strict=True):
        row[: len(drawing)] = drawing
        row[: len(drawing), :2] /= np.float32(model.scale)
        row[0, :2] = 0
    names = [label or "" for i, label in enumerate(raw.labels) if kept[i]]
    labels, classes = class_numbers(names) if all(names) else (None, None)
    summary = [
        f"{where}: {plural(len(x), 'drawing')}",
        f"points: {counts.min()} to {counts.max()} in a drawing, {counts.mean():.0f} on average; rows have {model.max_length}",
        f"scale: dx and dy are divided by {model.scale:.4g}, their standard deviation; "
        f"the median drawing is {model.extent:.4g} wide or high",
        *raw.remarks,
    ]
    if simplified:
        summary.append(
            f"simplified: {plural(simplified, 'drawing')} of more than {model.max_length} points (Ramer-Douglas-Peucker)"
            + (", the most that the model takes" if trained else "; --max-length N keeps more")
        )
    summary += [*(class_lines(names) if labels is not None else []), *raw.left_out.lines()]
    splits = [split for i, split in enumerate(raw.splits) if kept[i]]
    return Found(
        x, labels, classes, splits if any(splits) else None, preprocessing=model, summary=summary, kind="strokes",
        names=[name for i, name in enumerate(raw.names) if kept[i]], unread=raw.unread,
    )  # fmt: skip


def _read(path: Path) -> Raw:
    if path.is_dir():
        return _svg_folder(path)
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], Raw]] = {".npz": _npz, ".ndjson": _ndjson, ".jsonl": _ndjson}
    if suffix not in readers:
        there = "" if path.exists() else "; there is no such file or folder"
        raise DataError(
            f"{shown(path)}: strokes are read from {', '.join(f'*{name}' for name in readers)}, or a folder of *.svg{there}"
        )
    return readers[suffix](path)


def _npz(path: Path) -> Raw:
    """Read `<split>_strokes` and `<split>_offsets`, or `strokes` and `offsets`."""
    raw = Raw()
    with open_arrays(path) as arrays:
        if any(array.dtype.hasobject for array in arrays.values()):
            named = ", ".join(str(array) for array in arrays.values() if array.dtype.hasobject)
            raise DataError(f"{shown(path)}: {named}: Python objects, which may run code when they are read, so they are not. "
                            f"Needed: {LAYOUT}. To get there, {CONVERT}")  # fmt: skip
        pairs = _pairs(arrays)
        if not pairs:
            there = ", ".join(map(str, arrays.values()))
            raise DataError(
                f"{shown(path)}: has {there}; needed: {LAYOUT}; the same for valid and test if there are such splits"
            )
        number = 0
        for split, (strokes, offsets) in pairs.items():
            with reading(path):
                drawings = list(_cut(strokes.read(), offsets.read(), f"{shown(path)}: {strokes.name}"))
            for i, drawing in enumerate(drawings):
                _add(raw, drawing, split, None, numbered(number), f"{strokes.name}, drawing {i}")
                number += 1
        raw.left_out.suffixes.update({name: 1 for name in arrays if not name.endswith((STROKES, OFFSETS))})
    return raw


def _pairs(arrays: dict[str, Stored]) -> dict[str | None, tuple[Stored, Stored]]:
    found: dict[str | None, tuple[Stored, Stored]] = {}
    for name, array in arrays.items():
        if name.endswith(STROKES) and (offsets := arrays.get(name.removesuffix(STROKES) + OFFSETS)):
            word = name.removesuffix(STROKES).rstrip("_")
            split = split_of(word) if word else None
            if (not word or split) and split not in found:
                found[split] = (array, offsets)
    return found


def _cut(strokes: NDArray[np.float64], offsets: NDArray[np.int64], where: str) -> Iterator[Drawing]:
    if strokes.ndim != 2 or strokes.shape[1] != 3 or strokes.dtype.kind not in "iuf":
        raise DataError(f"{where} must be numbers of the shape (points, 3), not {strokes.dtype} {strokes.shape}")
    steps = np.diff(offsets.astype(np.int64)) if offsets.ndim == 1 and offsets.dtype.kind in "iu" else np.array([-1])
    if not len(offsets) or (steps < 0).any() or offsets[0] != 0 or offsets[-1] != len(strokes):
        raise DataError(f"{where}: its offsets must be whole numbers that rise from 0 to {len(strokes)}, the number of points")
    for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        yield strokes[first:last].astype(np.float64)


def _ndjson(path: Path) -> Raw:
    """Read the lines of QuickDraw: {"word": "cat", "drawing": [[[x, ...], [y, ...]], ...]}, two lists for each stroke."""
    raw = Raw()
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_LINE), b""), 1):
            if not line.strip():
                continue
            try:
                entry = parse_json(line)
                polylines = [np.array(stroke[:2], np.float64).T for stroke in entry["drawing"]]
                if any(line.ndim != 2 or line.shape[1] != 2 for line in polylines):
                    raise ValueError
                word = entry.get("word")
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
                _leave_out(raw, "lines that are no drawings", numbered(number - 1), f"line {number}")
                continue
            label = word if isinstance(word, str) and word else None
            _add(raw, to_stroke3(polylines), None, label, numbered(number - 1), f"line {number}")
    return raw


def _svg_folder(root: Path) -> Raw:
    """Read all SVG files below a folder; sub-folders are splits or classes, as for pictures. Each gets the same size."""
    raw = Raw()
    files = named_files(root, (".svg",), raw.left_out)
    layout = arrange(root, [file.relative_to(root) for file in files], raw.left_out)
    raw.remarks += [
        f"size: every drawing is brought to {SVG_SIDE:g} units, because SVG files have units of their own",
        *layout.remarks,
    ]
    frame = StrokeFormat(MOST_POINTS, 1.0, SVG_SIDE)
    for file, split, label, is_kept in zip(files, layout.splits, layout.labels, layout.kept, strict=True):
        name = shown(file.relative_to(root).as_posix())
        if not is_kept:
            continue
        try:
            drawing = np.array(frame.fitted(read_svg(content_of(file, MOST_BYTES)).polylines)).reshape(-1, 3)
        except (SvgError, BadDrawing, DataError) as error:
            _leave_out(raw, f"SVG files that cannot be read ({error})", name, name)
            continue
        _add(raw, drawing, split, label, name, name)
    return raw


SVG_SIDE = 256.0


def _leave_out(raw: Raw, reason: str, name: str, place: str) -> None:
    raw.left_out.add(reason, place)
    raw.unread.append(Unread(name, place, reason))


def _add(raw: Raw, drawing: Drawing, split: str | None, label: str | None, name: str, place: str) -> None:
    """Add a drawing, or count why it cannot be used."""
    if not len(drawing):
        _leave_out(raw, "empty drawings", name, place)
    elif not (np.abs(drawing[:, :2]) <= MOST_VALUE).all() or not np.isin(drawing[:, 2], (0, 1)).all():
        reason = f"drawings with values that are no numbers up to {MOST_VALUE:g}, or a pen other than 0 and 1"
        _leave_out(raw, reason, name, place)
    else:
        raw.names.append(name)
        raw.places.append(place)
        raw.drawings.append(drawing)
        raw.splits.append(split)
        raw.labels.append(label)


def _measured(training: Sequence[Drawing], longest: int, where: str) -> StrokeFormat:
    """Return the format of the training drawings: scale and extent are theirs. The first point of each is the origin."""
    steps = np.concatenate([np.concatenate([np.zeros((1, 2)), drawing[1:, :2]]) for drawing in training])
    scale = float(steps.std())
    sizes = [extent(to_polylines(drawing)) for drawing in training]
    try:
        return StrokeFormat(longest, round(scale, 6), round(float(np.median(sizes)), 6))
    except ValueError as error:
        raise DataError(f"{where}: the drawings have no size that can be used: {error}") from None


def _shortened(raw: Raw, longest: int) -> tuple[list[Drawing], list[bool]]:
    """Return the drawings with at most so many points, and which of all are kept."""
    found, kept = [], []
    for i, drawing in enumerate(raw.drawings):
        kept.append(True)
        if len(drawing) <= longest:
            found.append(drawing)
            continue
        try:
            found.append(to_stroke3(to_length(to_polylines(drawing), longest)[0]))
        except ValueError:
            _leave_out(raw, f"drawings of too many strokes for {longest} points", raw.names[i], raw.places[i])
            kept[-1] = False
    return found, kept
