"""Read a folder of pictures into rows of bytes, in memory or in a file, and say what was found and what was left out.

Corrupt files are named and skipped, up to a limit. Knows nothing of models or training.
"""

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from models.depth import is_deep
from models.preprocess import Filter, Fit, Preprocessing
from models.readers.download import DataError
from models.readers.found import Found, class_numbers
from models.readers.grey import GREY_MODES, HasColorError, grey_line
from models.readers.groups import folder_groups, group_line
from models.readers.layout import arrange, class_lines
from models.readers.left_out import EXAMPLES, listed, of_all, plural
from models.readers.path_names import shown
from models.readers.ranges import pixel_lines
from models.readers.read_options import ReadOptions
from models.readers.row_store import Rows
from models.readers.scan import scan
from models.readers.survey import CHUNK, choose_shape, header_lines, in_threads, read_picture, survey
from models.readers.values import ValueOptions, measure

# So many pictures, evenly spread, are looked at before the others to find out whether there are colours.
SAMPLE = 100
# A thread decodes pictures of about so many bytes before it hands them over.
WAITING = 1 << 17


@dataclass(frozen=True)
class FolderOptions(ReadOptions):
    """Options that bring pictures to one shape. `size` (H, W) and `channels` default to those of the pictures.

    `model` is the preparation of a trained model, which is used as it is; all but `max_corrupt` is then ignored.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit | None = None  # None: crop for folders, pad for arrays
    filter: Filter = "bilinear"
    max_corrupt: float = 0.01  # largest share of unreadable files; one file is always allowed
    values: ValueOptions = field(default_factory=ValueOptions)
    model: Preprocessing | None = field(default=None, kw_only=True)


def read_folder(root: Path, options: FolderOptions) -> Found:
    """Read all pictures below a folder, by sorted path.

    Raises DataError if there is no such folder, no picture, too many corrupt files, too little memory, or if the user must
    choose a size.
    """
    there = scan(root)
    relative = there.relative
    layout = arrange(root, relative, there.left_out, there.unread)
    files = [file for file, kept in zip(there.files, layout.kept, strict=True) if kept]
    headers = survey(files)
    known = [header for header in headers if header is not None]
    if not known:
        reason = read_picture(files[0], Preprocessing(3, 8, 8))
        raise DataError(
            f"{shown(root)}: {of_all(len(files), len(files), 'picture')} corrupt; the first one is {shown(files[0])}: {reason}"
        )
    spec, about_values = options.model, list[str]()
    if spec is None:
        shape = choose_shape(known, options.size, options.channels)
        readable = [file for file, header in zip(files, headers, strict=True) if header is not None]
        spec, about_values = measure(readable, Preprocessing(*shape, options.fit or "crop", options.filter), options.values)
    in_colour = sum(header.mode not in GREY_MODES for header in known)
    if options.model is None and options.channels is None and in_colour:
        spec, rows, reasons = _read_as_found(files, spec, options)
        about_values += [grey_line(in_colour)] if spec.channels == 1 else []
    else:
        rows, reasons = _read(files, spec, options)
    corrupt = [f"{shown(path)}: {reason}" for path, reason in zip(files, reasons, strict=True) if reason is not None]
    check_corrupt(root, corrupt, len(files), options.max_corrupt)
    index = [i for i, kept in enumerate(layout.kept) if kept]
    good = [reason is None for reason in reasons]
    check_splits(root, [layout.splits[i] for i in index], good, corrupt)
    x, (least, most) = rows.all(), rows.extremes()
    index = [i for i, is_good in zip(index, good, strict=True) if is_good]
    labels = [shown(label) for i in index if (label := layout.labels[i]) is not None]
    splits = [layout.splits[i] for i in index]
    summary = [
        f"{shown(root)}: {plural(len(x), 'picture')}",
        *header_lines(known, spec, advise=options.model is None),
        *(
            about_values
            if any(line.startswith("values") for line in about_values)
            else [f"values: {least} to {most} of 255", *about_values]
        ),
        *pixel_lines(least, most, spec.range if any(is_deep(header.mode) for header in known) else None),
        *(class_lines(labels) if labels else []),
        *layout.remarks,
        *there.left_out.lines(),
    ]
    if corrupt:
        summary.append(f"skipped: {plural(len(corrupt), 'file')} that cannot be read ({corrupt[0]}"
                       + (f", and {len(corrupt) - 1:,} more)" if len(corrupt) > 1 else ")"))  # fmt: skip
    if lost := sorted({shown(label) for label in layout.labels if label} - set(labels)):
        summary.append(f"warning: no picture of {plural(len(lost), 'class', 'classes')} can be read: {listed(lost)}")
    numbers, classes = class_numbers(labels) if labels else (None, None)
    groups = folder_groups([relative[i] for i in index]) if options.hold_out == "group" else None
    if groups is not None:
        summary.append(group_line(groups, splits, "sub-folders"))
    return Found(x, numbers, classes, splits if any(splits) else None, {}, spec, summary, groups, skipped=corrupt)


def check_corrupt(root: Path, corrupt: Sequence[str], count: int, share: float) -> None:
    """Name all corrupt files; raise DataError if they are more than the allowed share, or all. One is always allowed."""
    for line in corrupt:
        tqdm.write(f"skipped {line}", file=sys.stderr)
    if len(corrupt) > max(1, share * count) or len(corrupt) == count:
        raise DataError(
            f"{shown(root)}: {of_all(len(corrupt), count, 'picture')} corrupt, more than the allowed share of "
            f"{share:g} (--max-corrupt); the first one is {corrupt[0]}"
        )


def check_splits(root: Path, splits: Sequence[str | None], good: Sequence[bool], corrupt: Sequence[str]) -> None:
    """Raise DataError if all pictures of a split are corrupt, however many may be: others would take their place."""
    names = iter(corrupt)
    lost: dict[str, list[str]] = {}
    for split, is_good in zip(splits, good, strict=True):
        if not is_good:
            lost.setdefault(split or "", []).append(next(names))
    for split, own in lost.items():
        if split and len(own) == splits.count(split):
            raise DataError(
                f"{shown(root)}: nothing in the {split} split can be read ({'; '.join(own[:EXAMPLES])}); "
                "restore its pictures, or move its folder away"
            )


def _read(
    files: Sequence[Path], spec: Preprocessing, options: FolderOptions, grey_only: bool = False
) -> tuple[Rows, list[str | None]]:
    """Return the pixels of all files that can be read, and the reason for each that cannot.

    `grey_only`: see `read_picture`.
    """
    rows = options.store(len(files), spec.shape, f"{plural(len(files), 'picture')} of {_shape(spec)}")
    reasons = list[str | None]()
    chunk = max(1, min(CHUNK, WAITING // math.prod(spec.shape)))
    for pixels in in_threads(lambda i: read_picture(files[i], spec, grey_only), len(files), "reading pictures", chunk):
        if isinstance(pixels, str):
            reasons.append(pixels)
        else:
            rows.add(pixels[None])
            reasons.append(None)
    return rows, reasons


def _read_as_found(
    files: Sequence[Path], spec: Preprocessing, options: FolderOptions
) -> tuple[Preprocessing, Rows, list[str | None]]:
    """Read as grey if all pictures have grey pixels only, else in colour. Returns the specification that was right, too.

    Colours are nearly always found in the first few of SAMPLE pictures, so that hardly anything is decoded twice.
    """
    grey = replace(spec, channels=1)
    with suppress(HasColorError):
        for file in files[:: max(1, len(files) // SAMPLE)]:
            read_picture(file, grey, grey_only=True)
        return grey, *_read(files, grey, options, grey_only=True)
    return spec, *_read(files, spec, options)


def _shape(spec: Preprocessing) -> str:
    return f"{spec.height} x {spec.width} x {spec.channels}"
