"""Read texts: the lines of a file, the files of a folder, or tunes in ABC notation (*.abc).

What is inferred is said; what is left out is counted and named. Knows nothing of models.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.kinds.composed import composed
from models.kinds.text import BYTES, MOST_STEPS, TextFormat, characters_of, named
from models.readers.download import DataError
from models.readers.found import Found, Groups, Unread, class_numbers, numbered
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
    names: list[str] = field(default_factory=list)  # see `Found.names`
    places: list[str] = field(default_factory=list)  # for messages: "line 3"
    unread: list[Unread] = field(default_factory=list)
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
    raw, where, trained = _read(path, bars), shown(path), model is not None
    if not raw.texts:
        raise DataError(f"{where}: has no texts; {'; '.join(raw.left_out.lines()) or 'it is empty'}")
    summary = [f"{where}: {plural(len(raw.texts), 'text')}", *raw.remarks]
    if model is None:
        model, line = _format(raw.texts, max_length, units)
        summary.append(line)
        raw.texts = raw.texts if model.tokens == BYTES else [composed(text) for text in raw.texts]
    rows, kept, longer, unknown = list[str](), list[int](), 0, 0
    for i, text in enumerate(raw.texts):
        if model.tokens != BYTES and not set(text) <= model.numbers.keys():
            text = composed(text)
        encoded = text.encode() if model.tokens == BYTES else text
        if len(encoded) > model.max_length:
            longer += 1
            reason = f"the text has {len(encoded):,} tokens; the model takes at most {model.max_length}"
            raw.unread.append(Unread(raw.names[i], raw.places[i], reason))
        elif model.tokens != BYTES and (strange := sorted(set(text) - model.numbers.keys())):
            unknown += 1
            reason = f"the text has {named(strange)}, which the training texts do not have"
            raw.unread.append(Unread(raw.names[i], raw.places[i], reason))
        else:
            rows.append(text)
            kept.append(i)
    if not rows:
        if trained:
            first = raw.unread[0]
            raise DataError(f"{where}: the model takes none of the {len(raw.texts):,} texts; {first.place}: {first.reason}")
        raise DataError(f"{where}: no text has at most {model.max_length} tokens; a larger --max-length takes them")
    check_memory(2 * len(rows) * model.max_length, "the texts")
    x = model.rows(rows, model.max_length)
    counts = (x > 0).sum(1)
    summary.append(
        f"length: {counts.min()} to {counts.max()} tokens, {counts.mean():.0f} on average; rows have {model.max_length}"
    )
    if longer:
        advice = ", the most that the model takes" if trained else "; --max-length N takes more"
        summary.append(f"left out: {plural(longer, 'text')} of more than {model.max_length} tokens{advice}")
    if unknown:
        summary.append(f"left out: {plural(unknown, 'text')} with characters that the model does not know")
    names = [raw.labels[i] or "" for i in kept]
    labels, classes = class_numbers(names) if all(names) else (None, None)
    splits = [raw.splits[i] for i in kept]
    groups = None if raw.groups is None else Groups(raw.groups.numbers[kept], raw.groups.names)
    summary += [*(class_lines(names) if labels is not None else []), *raw.left_out.lines()]
    return Found(
        x, labels, classes, splits if any(splits) else None, preprocessing=model, summary=summary, groups=groups, kind="text",
        names=[raw.names[i] for i in kept], unread=raw.unread,
    )  # fmt: skip


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
        _add_tunes(raw, [content], bars, [None], [""])
        return raw
    if bars is not None:
        raise DataError(f"{shown(path)}: --bars is for tunes in files named *{TUNE}; leave it out")
    for i, text in enumerate(content.splitlines()):
        _add(raw, text.rstrip("\r\n"), None, None, "empty lines", (numbered(i), f"line {i + 1}"))
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
    names = [shown(file.relative_to(root).as_posix()) for file in files]
    kept, contents = list[int](), list[str]()
    for i in (i for i, is_kept in enumerate(layout.kept) if is_kept):
        try:
            contents.append(_text(files[i], content_of(files[i], MOST_BYTES)))
        except DataError as error:
            reason = str(error).removeprefix(f"{shown(files[i])}: ")
            raw.left_out.add(f"files that cannot be read ({reason})", names[i])
            raw.unread.append(Unread(names[i], names[i], reason))
        else:
            kept.append(i)
    if tunes:
        _add_tunes(raw, contents, bars, [layout.splits[i] for i in kept], [names[i] + "/" for i in kept])
    else:
        for i, text in zip(kept, contents, strict=True):
            _add(raw, text, layout.splits[i], layout.labels[i], "empty files", (names[i], names[i]))
        raw.remarks += ["each file is a text", *layout.remarks]
    return raw


def _add_tunes(raw: Raw, contents: list[str], bars: int | None, splits: list[str | None], starts: list[str]) -> None:
    """Add the tunes of files. The name of one is the start that its file has, and its number there."""
    found = Tunes()
    for content, split, start in zip(contents, splits, starts, strict=True):
        before, tunes = len(found.texts), found.tunes
        read_tunes(content, bars, found)
        own = found.numbers if bars is None else range(len(found.texts))  # of tunes, or of phrases
        first = tunes if bars is None else before
        raw.splits += [split] * (len(found.texts) - before)
        raw.names += [start + numbered(number - first) for number in own[before:]]
        raw.places += [f"{start.removesuffix('/')} tune {number - tunes + 1}".strip() for number in found.numbers[before:]]
    raw.texts += found.texts
    raw.groups = Groups(np.array(found.numbers, np.int64), [f"tune {number}" for number in range(1, found.tunes + 1)])
    raw.labels += [None] * len(found.texts)
    how = "" if bars is None else f", cut into {plural(len(found.texts), 'phrase')} of {plural(bars, 'bar')}"
    raw.remarks.append(f"tunes: {found.tunes:,}, split at lines X:{how}")
    if found.fields:
        raw.remarks.append(f"left out of the tunes: the fields {counted(dict(found.fields.most_common()))}")
    if found.odd_bars:
        raw.remarks.append(f"left out of the phrases: {plural(found.odd_bars, 'bar')} whose length is not that of the meter")


def _add(raw: Raw, text: str, split: str | None, label: str | None, empty: str, names: tuple[str, str]) -> None:
    """Add a text with its name and its place, or count that it is empty."""
    if text.strip():
        raw.names.append(names[0])
        raw.places.append(names[1])
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
