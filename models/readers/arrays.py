"""Read pictures from npz, npy and IDX files, for training and loading: layouts, types and names of many data sets.

What is inferred is said; what is not clear is refused with the arrays that were found. Knows nothing of models or training.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.depth import Range
from models.ink import in_ink
from models.preprocess import Pixels, Preprocessing, preprocess
from models.readers.array_files import Stored, open_arrays, reading
from models.readers.array_labels import Labels, label_lines, read_labels, read_splits, whole_numbers
from models.readers.array_roles import IS_TRAIN, SPLIT, Part, choose_roles
from models.readers.array_shapes import Shape, shape_of
from models.readers.array_values import Scale, choose_scale
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.found import Found, class_numbers
from models.readers.grey import grey_line
from models.readers.groups import array_groups, group_line
from models.readers.layout import TEST, TRAIN, class_lines
from models.readers.left_out import plural
from models.readers.path_names import shown
from models.readers.ranges import RANGE_FLAG, pixel_lines
from models.readers.values import LOOKED_AT, choose_ink, light_border, transparency_line


@dataclass
class ArrayPictures:
    """The pictures of an open file, which are not read yet. `labels` are numbers or names, `splits` those of each picture."""

    path: Path
    parts: list[tuple[Part, Shape]]
    labels: list[int] | list[str] | None = None
    splits: list[str] | None = None
    others: dict[str, Stored] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    is_grey: bool = True  # Whether all pixels are grey; it is known after `scale`, which looks at all of them.

    @property
    def is_bytes(self) -> bool:
        """Return whether the values are bytes, which keep their scale."""
        return self.parts[0][0].images.dtype == np.uint8

    @property
    def shape(self) -> Shape:
        """Return the shape of each picture."""
        return self.parts[0][1]

    def __len__(self) -> int:
        return sum(shape.count for _, shape in self.parts)

    def scale(self, wanted: Range | None, served: bool = False, source: str = RANGE_FLAG) -> Scale:
        """Look at all values and choose their scale. `served` and `source`: see `choose_scale`."""
        with reading(self.path):
            return choose_scale(self._looking_for_colours(), wanted, served, source)

    def look(self, scale: Scale, spec: Preprocessing) -> tuple[list[bool], int]:
        """Return whether opaque pictures have light borders, for about LOOKED_AT of them, and how many are transparent."""
        light, seen, transparent = list[bool](), 0, 0
        step = max(1, -(-len(self) // LOOKED_AT))
        with reading(self.path):
            for _, block in self._blocks():
                if self.shape.channels == 4:
                    opaque = (scale.to_bytes(block[..., 3]) == 255).all((1, 2))
                    block = block[opaque]
                    transparent += int((~opaque).sum())
                light += [light_border(_image(one), spec) for one in scale.to_bytes(block[-seen % step :: step])]
                seen += len(block)
        return light, transparent

    def _looking_for_colours(self) -> Iterator[NDArray[Any]]:
        """Yield all values, and note on the way whether there are colours."""
        for _, block in self._blocks():
            red, with_nan = block[..., 0], block.dtype.kind == "f"
            self.is_grey = self.is_grey and all(
                np.array_equal(red, block[..., other], equal_nan=with_nan) for other in range(1, min(3, block.shape[3]))
            )
            yield block

    def pixels(self, scale: Scale, spec: Preprocessing) -> Iterator[tuple[int, Pixels]]:
        """Yield (first picture, uint8 (n, C, H, W)) for all pictures, as `spec` prepares them, inverted too."""
        own = (self.shape.channels, self.shape.height, self.shape.width)
        with reading(self.path):
            for first, block in self._blocks():
                pixels = scale.to_bytes(block)
                if own == spec.shape:
                    rows = pixels.transpose(0, 3, 1, 2)
                    yield (
                        first,
                        rows if spec.invert == "no" else np.stack([in_ink(one, spec.ink, spec.invert) for one in rows]),
                    )
                else:
                    yield first, np.stack([preprocess(_image(one), spec) for one in pixels])

    def _blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first picture, (n, H, W, C)), about a megabyte at a time."""
        start = 0
        for part, shape in self.parts:
            if shape.is_last:
                whole = shape.to_nhwc(part.images.read())
                yield from ((start + i, whole[i : i + 256]) for i in range(0, len(whole), 256))
            else:
                yield from ((start + first, shape.to_nhwc(rows)) for first, rows in part.images.blocks())
            start += shape.count


def _image(pixels: Pixels) -> Image.Image:
    """Return a picture (H, W, C) as Pillow's."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


@contextmanager
def open_pictures(path: Path, wanted: tuple[int, int] | None = None) -> Iterator[ArrayPictures]:
    """Open a file and find its pictures, labels and splits. `wanted` is the height and width that a model takes.

    Raises DataError.
    """
    with open_arrays(path) as arrays:
        name = shown(path)
        roles = choose_roles(name, arrays)
        parts = []
        for part in roles.parts:
            beside = [part.labels] if part.labels is not None else roles.others.values() if part.split is None else []
            count = next((array.shape[0] for array in beside if array is not None and array.shape), None)
            parts.append((part, shape_of(name, part.images, count, wanted)))
        first = parts[0][1]
        for part, shape in parts[1:]:
            if str(shape) != str(first):
                raise DataError(f"{name}: {parts[0][0].images} and {part.images} have pictures of different shapes")
            if part.images.dtype != parts[0][0].images.dtype:  # One scale for both would blacken one of them.
                raise DataError(f"{name}: {parts[0][0].images} and {part.images} have different types; convert them to one")
        found = ArrayPictures(path, parts, others=roles.others)
        with reading(path):
            _add_labels(name, found)
            _add_splits(name, found)
        yield found


def _add_labels(name: str, found: ArrayPictures) -> None:
    each: list[Labels] = []
    for part, shape in found.parts:
        if part.labels is None:
            continue
        labels = read_labels(name, part.labels, shape.count)
        if labels is None:
            found.remarks.append(f"left out: {part.labels}, because each picture has several labels")
            return
        each.append(labels)
    if 0 < len(each) < len(found.parts):
        found.remarks.append("no labels are used, because not every split has them")
    elif each:
        if len({labels.names is None for labels in each}) > 1:
            raise DataError(f"{name}: the labels of one split are text, those of another are numbers")
        found.remarks += [labels.remark for labels in each if labels.remark]
        names = [name for labels in each for name in labels.names or []]
        found.labels = names or [number for labels in each if labels.numbers is not None for number in labels.numbers.tolist()]


def _add_splits(name: str, found: ArrayPictures) -> None:
    """Take the splits from the names of the arrays, from `is_train`, or from text in `split`."""
    count = len(found)
    if found.parts[0][0].split is not None:
        found.splits = [str(part.split) for part, shape in found.parts for _ in range(shape.count)]
        return
    is_train, split = found.others.get(IS_TRAIN), found.others.get(SPLIT)
    if is_train is not None and is_train.shape == (count,) and is_train.dtype.kind in "bui":
        del found.others[IS_TRAIN]  # Some data sets have one entry per group of pictures, which stays among the others.
        values = is_train.read().astype(bool)
        if values.all() or not values.any():
            raise DataError(
                f"{name}: {IS_TRAIN} puts all pictures into one split; it must be true for some and false for others"
            )
        found.splits = [TRAIN if one else TEST for one in values.tolist()]
    elif split is not None and (words := read_splits(split, count)) is not None:
        del found.others[SPLIT]
        found.splits = words
    elif split is not None:
        found.remarks.append(
            f"warning: {split} is not read as splits; give {plural(count, 'text')} such as train, validation and test, or "
            f"truth values as {IS_TRAIN}"
        )


def read_arrays(path: Path, options: FolderOptions, names: Sequence[str] = (), groups_name: str = "groups") -> Found:
    """Read all pictures of a file. Other whole numbers (N,) are factors; if `names` is given, only those with these names.

    The array `groups_name` says which pictures belong together: numbers or text, for all or for the training pictures.
    Raises DataError.
    """
    with open_pictures(path) as found:
        groups = None
        if stored := found.others.get(groups_name):
            with reading(path):
                groups = array_groups(shown(path), stored, len(found), found.shape.count)
            del found.others[groups_name]
        missing = [name for name in names if name not in found.others]
        if missing:
            raise DataError(f"{shown(path)}: has no array {', '.join(missing)}")
        shape = found.shape
        values = options.values
        scale = (
            found.scale(options.model.range, served=True)
            if options.model
            else found.scale(values.range, source=values.range_source)
        )
        spec = options.model or Preprocessing(
            options.channels or (1 if found.is_grey else 3),
            *(options.size or (shape.height, shape.width)),
            options.fit or "pad",
            options.filter,
            scale.stored,
            values.background,
            invert=values.invert,
        )
        channels, height, width = spec.shape
        rows = options.store(len(found), spec.shape, f"{plural(len(found), 'picture')} of {height} x {width} x {channels}")
        about_ink: list[str] = []
        if options.model is None:  # The ink must be known before pictures are padded, blended or inverted.
            light, transparent = found.look(scale, spec)
            spec, about_ink = choose_ink(spec, light)
            about_ink += [transparency_line(spec, transparent, len(found))] if transparent else []
        for _, pixels in found.pixels(scale, spec):
            rows.add(pixels)
        x = rows.all()
        factors, left_out = {}, []
        for name, array in found.others.items():
            numbers = None
            if array.shape == (len(x),) and array.dtype.kind in "iu" and (not names or name in names):
                with reading(path):
                    numbers = whole_numbers(array.read())
            if numbers is None:
                left_out.append(str(array))
            else:
                factors[name] = numbers
        labels, classes = _numbered(found.labels)
    summary = [
        f"{shown(path)}: {plural(len(x), 'picture')}",
        *array_lines(found, scale, spec),
        *about_ink,
        *pixel_lines(*rows.extremes(), None if found.is_bytes else scale.range),
    ]
    if shape.channels > 1 and options.model is None and options.channels is None and spec.channels == 1:
        summary.append(grey_line(len(x)))
    if groups is not None:
        summary.append(group_line(groups, found.splits, f"the array {groups_name}"))
    if factors:
        summary.append(f"factors: {', '.join(shown(name) for name in factors)}")
    if left_out:
        summary.append(f"left out: the arrays {', '.join(left_out)}")
    return Found(x, labels, classes, found.splits, factors, spec, summary, groups)


def array_lines(found: ArrayPictures, scale: Scale, spec: Preprocessing) -> list[str]:
    """Return lines about what was inferred: layout, size, values and labels."""
    shape = found.shape
    line = f"arrays: {', '.join(str(part.images) for part, _ in found.parts)}, read as {shape} (height x width x channels)"
    if (shape.height, shape.width) != (spec.height, spec.width):
        line += f"; all are resized to {spec.height} x {spec.width}"
    if shape.channels == 4:
        line += "; transparent parts are put on a plain background"
    lines = [line, *scale.lines]
    if found.labels:
        names = [label for label in found.labels if isinstance(label, str)]
        lines += class_lines(names) if names else label_lines(np.array(found.labels))
    return [*lines, *found.remarks]


def _numbered(labels: list[int] | list[str] | None) -> tuple[NDArray[np.int64] | None, list[str] | None]:
    if labels is None:
        return None, None
    names = [label for label in labels if isinstance(label, str)]
    return class_numbers(names) if names else (np.array(labels, np.int64), None)
