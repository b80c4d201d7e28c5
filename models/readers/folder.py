"""Read a folder of pictures into one uint8 array that is allocated once, and say what was found and what was left out.

Corrupt files are named and skipped, up to a limit. Knows nothing of models or training.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.preprocess import Filter, Fit, Preprocessing
from models.readers.download import DataError
from models.readers.found import Found, class_numbers
from models.readers.layout import arrange, class_line
from models.readers.left_out import plural
from models.readers.memory import check_memory
from models.readers.path_names import shown
from models.readers.rows import keep_rows
from models.readers.scan import scan
from models.readers.survey import choose_shape, header_lines, in_threads, read_picture, survey
from models.readers.values import ValueOptions, measure


@dataclass(frozen=True)
class FolderOptions:
    """Options that bring pictures to one shape. `size` (H, W) and `channels` default to those of the pictures.

    `model` is the preparation of a trained model, which is used as it is; all but `max_corrupt` is then ignored.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit | None = None  # None: crop for folders, pad for arrays
    filter: Filter = "bilinear"
    max_corrupt: float = 0.01  # largest share of unreadable files; one file is always allowed
    values: ValueOptions = field(default_factory=ValueOptions)
    model: Preprocessing | None = None


def read_folder(root: Path, options: FolderOptions) -> Found:
    """Read all pictures below a folder, by sorted path.

    Raises DataError if there is no such folder, no picture, too many corrupt files, too little memory, or if the user must
    choose a size.
    """
    there = scan(root)
    layout = arrange(root, there.relative, there.left_out)
    files = [file for file, kept in zip(there.files, layout.kept, strict=True) if kept]
    headers = survey(files)
    known = [header for header in headers if header is not None]
    if not known:
        reason = read_picture(files[0], Preprocessing(3, 8, 8))
        raise DataError(
            f"{len(files)} of {len(files)} pictures in {shown(root)} are corrupt; the first one is {shown(files[0])}: {reason}"
        )
    spec, about_values = options.model, list[str]()
    if spec is None:
        shape = choose_shape(known, options.size, options.channels)
        readable = [file for file, header in zip(files, headers, strict=True) if header is not None]
        spec, about_values = measure(readable, Preprocessing(*shape, options.fit or "crop", options.filter), options.values)
    check_memory(len(files) * spec.channels * spec.height * spec.width, f"{plural(len(files), 'picture')} of {_shape(spec)}")
    x = np.empty((len(files), *spec.shape), np.uint8)

    def fill(i: int) -> str | None:
        pixels = read_picture(files[i], spec)
        if isinstance(pixels, str):
            return pixels
        x[i] = pixels
        return None

    reasons = list(in_threads(fill, len(files), "reading pictures"))
    corrupt = [f"{shown(path)}: {reason}" for path, reason in zip(files, reasons, strict=True) if reason is not None]
    check_corrupt(root, corrupt, len(files), options.max_corrupt)
    good = [reason is None for reason in reasons]
    x = keep_rows(x, good)
    index = [i for i, kept in enumerate(layout.kept) if kept]
    index = [i for i, is_good in zip(index, good, strict=True) if is_good]
    labels = [shown(label) for i in index if (label := layout.labels[i]) is not None]
    splits = [layout.splits[i] for i in index]
    summary = [
        f"{shown(root)}: {plural(len(x), 'picture')}",
        *header_lines(known, spec),
        *(
            about_values
            if any(line.startswith("values") for line in about_values)
            else [f"values: {x.min()} to {x.max()} of 255", *about_values]
        ),
        *(["warning: all pixels of all pictures are equal"] if x.min() == x.max() else []),
        *([class_line(labels)] if labels else []),
        *layout.remarks,
        *there.left_out.lines(),
    ]
    if corrupt:
        summary.append(f"skipped: {plural(len(corrupt), 'file')} that cannot be read ({corrupt[0]}"
                       + (f", and {len(corrupt) - 1:,} more)" if len(corrupt) > 1 else ")"))  # fmt: skip
    numbers, classes = class_numbers(labels) if labels else (None, None)
    return Found(x, numbers, classes, splits if any(splits) else None, {}, spec, summary)


def check_corrupt(root: Path, corrupt: Sequence[str], count: int, share: float) -> None:
    """Name all corrupt files; raise DataError if they are more than the allowed share, or all. One is always allowed."""
    for line in corrupt:
        tqdm.write(f"skipped {line}", file=sys.stderr)
    if len(corrupt) > max(1, share * count) or len(corrupt) == count:
        raise DataError(
            f"{len(corrupt)} of {count} pictures in {shown(root)} are corrupt, more than the allowed share of "
            f"{share:g} (--max-corrupt); the first one is {corrupt[0]}"
        )


def _shape(spec: Preprocessing) -> str:
    return f"{spec.height} x {spec.width} x {spec.channels}"
