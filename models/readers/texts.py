"""Read texts: the lines of a file, the files of a folder, or tunes in ABC notation (*.abc).

What is inferred is said; what is left out is counted and named. Knows nothing of models.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.kinds.composed import composed
from models.kinds.text import BYTES, MOST_STEPS, TextFormat, characters_of
from models.readers.download import DataError
from models.readers.found import Found, Groups, class_numbers
from models.readers.layout import arrange, class_lines
from models.readers.left_out import LeftOut, counted, plural
from models.readers.memory import check_memory
from models.readers.named_files import content_of, named_files
from models.readers.path_names import shown
from models.readers.tunes import MOST_BARS, Tunes, read_tunes

Units = Literal["characters", "bytes"]
UNITS: tuple[Units, ...] = ("characters", "bytes")
# Longer texts are left out, unless --max-length allows them: the time of a batch is that of its longest row.
LONGEST = 512
# With more different characters, bytes are the better tokens: each needs training texts that have it.
MOST_CHARACTERS = 500
MOST_BYTES = 1 << 30
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
TUNE = ".abc"


@dataclass
class Raw:
    """Texts of a source, with the split and the label of each; None where there is none."""

    texts: list[str] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    remarks: list[str] = field(default_factory=list)
    groups: Groups | None = None  # the tunes, from which several phrases come


def read_texts(
    path: Path,
    max_length: int | None = None,
    units: Units | None = None,
    bars: int | None = None,
    model: TextFormat | None = None,
) -> Found:
    """Read texts into int16 rows (N, T), in the order of the source. Raises DataError.

    `max_length`: tokens of the longest text (None: that of the data, at most LONGEST); longer ones are left out. `units`: what
    a token is (None: characters, unless there are too many). `bars`: cut tunes into phrases of so many bars.
    `model`: the preparation of a trained model, which is then used as it is.
    """
    raw, where = _read(path, bars), shown(path)
    if not raw.texts:
        raise DataError(f"{where}: has no texts; {'; '.join(raw.left_out.lines()) or 'it is empty'}")
    summary = [f"{where}: {plural(len(raw.texts), 'text')}", *raw.remarks]
    if model is None:
        model, line = _format(raw.texts, max_length, units)
        summary.append(line)
        raw.texts = raw.texts if model.tokens == BYTES else [composed(text) for text in raw.texts]
    rows, kept, longer, unknown = [], [], 0, 0
    for i, text in enumerate(raw.texts):
        if model.tokens != BYTES and not set(text) <= model.numbers.keys():
            text = composed(text)
        encoded = text.encode() if model.tokens == BYTES else text
        if len(encoded) > model.max_length:
            longer += 1
        elif model.tokens != BYTES and not set(text) <= model.numbers.keys():
            unknown += 1
        else:
            rows.append(text)
            kept.append(i)
    if not rows:
        raise DataError(f"{where}: no text has at most {model.max_length} tokens; a larger --max-length takes them")
    check_memory(2 * len(rows) * model.max_length, "the texts")
    x = model.rows(rows, model.max_length)
    counts = (x > 0).sum(1)
    summary.append(
        f"length: {counts.min()} to {counts.max()} tokens, {counts.mean():.0f} on average; rows have {model.max_length}"
    )
    if longer:
        summary.append(f"left out: {plural(longer, 'text')} of more than {model.max_length} tokens; --max-length N takes more")
    if unknown:
        summary.append(f"left out: {plural(unknown, 'text')} with characters that the model does not know")
    names = [raw.labels[i] or "" for i in kept]
    labels, classes = class_numbers(names) if all(names) else (None, None)
    splits = [raw.splits[i] for i in kept]
    groups = None if raw.groups is None else Groups(raw.groups.numbers[kept], raw.groups.names)
    summary += [*(class_lines(names) if labels is not None else []), *raw.left_out.lines()]
    return Found(
        x, labels, classes, splits if any(splits) else None, preprocessing=model, summary=summary, groups=groups, kind="text"
    )


def _format(texts: list[str], max_length: int | None, units: Units | None) -> tuple[TextFormat, str]:
    """Return the format of texts, and a line about their tokens."""
    alike = [composed(text) for text in texts]
    characters = characters_of(alike)
    many = len(characters) > MOST_CHARACTERS
    as_bytes = units == BYTES or (units is None and many)
    longest = max(len(text.encode()) for text in texts) if as_bytes else max(map(len, alike))
    length = min(longest, LONGEST) if max_length is None else max_length
    try:
        found = TextFormat(length, BYTES if as_bytes else characters)
    except ValueError as error:
        raise DataError(f"--max-length must be from 1 to {MOST_STEPS}: {error}") from None
    if as_bytes:
        why = f", because there are {len(characters):,} different characters" if many and units is None else ""
        return found, f"tokens: the bytes of UTF-8{why}"
    return found, f"tokens: {plural(len(characters), 'character')}: {''.join(characters)[:200]!r}"


def _read(path: Path, bars: int | None) -> Raw:
    if bars is not None and not 0 < bars <= MOST_BARS:
        raise DataError(f"--bars must be from 1 to {MOST_BARS}, not {bars}")
    if path.is_dir():
        return _folder(path, bars)
    if path.suffix.lower() in ARCHIVES:
        raise DataError(f"{shown(path)} is an archive: unpack it, and give the folder as text:PATH")
    raw = Raw()
    content = _text(path, content_of(path, MOST_BYTES))
    if path.suffix.lower() == TUNE:
        _add_tunes(raw, [content], bars, [None])
        return raw
    if bars is not None:
        raise DataError(f"{shown(path)}: --bars is for tunes in files named *{TUNE}; leave it out")
    for text in content.splitlines():
        _add(raw, text.rstrip("\r\n"), None, None, "empty lines")
    raw.remarks.append("each line is a text")
    return raw


def _folder(root: Path, bars: int | None) -> Raw:
    """Read a folder: its tunes if it has any, else each file as one text. Sub-folders are splits or classes."""
    raw = Raw()
    try:
        files, tunes = named_files(root, (TUNE,), raw.left_out), True
    except DataError:
        raw = Raw()
        files, tunes = named_files(root, None, raw.left_out), False
        if archives := [file for file in files if file.suffix.lower() in ARCHIVES]:
            raise DataError(f"{shown(archives[0])} is an archive: unpack it in the folder, and move it away") from None
    if bars is not None and not tunes:
        raise DataError(f"{shown(root)}: --bars is for tunes in files named *{TUNE}, and there are none; leave it out")
    layout = arrange(root, [file.relative_to(root) for file in files], raw.left_out)
    kept = [i for i, is_kept in enumerate(layout.kept) if is_kept]
    contents = [_text(files[i], content_of(files[i], MOST_BYTES)) for i in kept]
    if tunes:
        _add_tunes(raw, contents, bars, [layout.splits[i] for i in kept])
    else:
        for i, text in zip(kept, contents, strict=True):
            _add(raw, text, layout.splits[i], layout.labels[i], "empty files")
        raw.remarks += ["each file is a text", *layout.remarks]
    return raw


def _add_tunes(raw: Raw, contents: list[str], bars: int | None, splits: list[str | None]) -> None:
    found = Tunes()
    for content, split in zip(contents, splits, strict=True):
        before = len(found.texts)
        read_tunes(content, bars, found)
        raw.splits += [split] * (len(found.texts) - before)
    raw.texts += found.texts
    raw.groups = Groups(np.array(found.numbers, np.int64), [f"tune {number}" for number in range(1, found.tunes + 1)])
    raw.labels += [None] * len(found.texts)
    how = "" if bars is None else f", cut into {plural(len(found.texts), 'phrase')} of {plural(bars, 'bar')}"
    raw.remarks.append(f"tunes: {found.tunes:,}, split at lines X:{how}")
    if found.fields:
        raw.remarks.append(f"left out of the tunes: the fields {counted(dict(found.fields.most_common()))}")
    if found.odd_bars:
        raw.remarks.append(f"left out of the phrases: {plural(found.odd_bars, 'bar')} whose length is not that of the meter")


def _add(raw: Raw, text: str, split: str | None, label: str | None, empty: str) -> None:
    if text.strip():
        raw.texts.append(text)
        raw.splits.append(split)
        raw.labels.append(label)
    else:
        raw.left_out.add(empty, f"number {len(raw.texts) + raw.left_out.counts[empty] + 1}")


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{shown(path)}: not UTF-8 at byte {error.start}; convert it, for example: iconv -f latin1 -t utf-8"
        ) from None
