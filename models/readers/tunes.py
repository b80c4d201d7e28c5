"""Folk tunes in ABC notation -> texts: whole tunes, or phrases of so many bars (abcnotation.com/wiki/abc:standard:v2.1).

A text keeps what is music: meter, unit length, key and notes. Titles, sources and parts are left out. Knows nothing of files.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

FIELD = re.compile(r"^([A-Za-z]):\s*(.*)$")
KEPT = ("M", "L", "K")
BAR_LINE = re.compile(r"(?:\[\||:*\|[\]|]*:*|::|:)+(?:\s*\[?[12](?:st|nd)?(?![\d/]))?|\[[12]")
NOTE = re.compile(r"(?:\^\^?|__?|=)?([A-Ga-gzx])[,']*(\d*)(/*)(\d*)")
LENGTH = re.compile(r"(\d*)(/*)(\d*)")
SKIPPED = re.compile(r'"[^"]*"|![^!]*!|\{[^}]*\}|[\s.~HTuv()+\\-]')
TUPLET = re.compile(r"\((\d)(?!\d)")
IN_THE_TIME_OF = {2: 3, 3: 2, 4: 3, 6: 2}
MOST_BARS = 1000


@dataclass
class Tunes:
    """Texts of tunes, and what was left out."""

    texts: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # the tune of each text, from 0 on
    tunes: int = 0
    fields: Counter[str] = field(default_factory=Counter)  # fields that are left out, with their number
    odd_bars: int = 0  # bars that are left out of phrases, because their length is not that of the meter


def read_tunes(text: str, bars: int | None, found: Tunes) -> None:
    """Add the tunes of a file, which begin at lines `X:`: each as one text, or as phrases of so many bars."""
    for tune in re.split(r"(?m)^(?=X:)", text.replace("\r", "")):
        if not tune.startswith("X:"):
            continue
        found.tunes += 1
        for head, lines in _sections(tune, found, split=bars is not None):
            if bars is None:
                found.texts.append(head + "\n".join(lines) + "\n")
            else:
                found.texts += _phrases(head, " ".join(line.rstrip("\\") for line in lines), bars, found)
            found.numbers += [found.tunes - 1] * (len(found.texts) - len(found.numbers))


def _sections(tune: str, found: Tunes, split: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the head and the lines of music; with `split`, a new section begins where meter, length or key change."""
    fields: dict[str, str] = {}
    lines: list[str] = []
    for line in tune.splitlines():
        line = line.partition("%")[0].rstrip()
        if match := FIELD.match(line):
            name, value = match[1], match[2].strip()
            if name in KEPT and lines and split:
                yield _head(fields), lines
                lines = []
            if name in KEPT and lines:
                lines.append(f"{name}:{value}")
            elif name in KEPT:
                fields[name] = value
            elif name != "X":
                found.fields[name] += 1
        elif line:
            lines.append(line)
    if lines and "K" in fields:
        yield _head(fields), lines


def _head(fields: dict[str, str]) -> str:
    return "X:1\n" + "".join(f"{name}:{fields[name]}\n" for name in KEPT if name in fields)


def _phrases(head: str, music: str, bars: int, found: Tunes) -> Iterator[str]:
    """Yield runs of so many whole bars, each beginning a quarter of a phrase after the one before."""
    full = _bar_length(head)
    if full is None:
        return
    run: list[str] = []
    for bar in [*_whole_bars(music, full, found), None]:
        if bar is not None:
            run.append(bar)
            continue
        for first in range(0, len(run) - bars + 1, max(1, bars // 4)):
            yield head + "|".join(run[first : first + bars]) + "|\n"
        run = []


def _whole_bars(music: str, full: Fraction, found: Tunes) -> Iterator[str | None]:
    """Yield the bars that fill the meter, None between those that do not follow each other.

    At a repeat, the last bar of the part and the upbeat are often two halves of one bar.
    """
    waiting: tuple[str, Fraction] | None = None
    for bar in filter(None, (part.strip() for part in BAR_LINE.split(music))):
        length = duration(bar)
        if length is not None and waiting is not None and waiting[1] + length == full:
            yield f"{waiting[0]} {bar}"
            waiting = None
            continue
        if waiting is not None:
            found.odd_bars += 1
            yield None
            waiting = None
        if length == full:
            yield bar
        elif length is not None and length < full:
            waiting = (bar, length)
        else:
            found.odd_bars += 1
            yield None
    if waiting is not None:
        found.odd_bars += 1


def _bar_length(head: str) -> Fraction | None:
    """Return the length of a bar in unit lengths; None for a free meter."""
    fields = dict(line.split(":", 1) for line in head.splitlines())
    meter = {"C": "4/4", "C|": "2/2"}.get(fields.get("M", ""), fields.get("M", ""))
    try:
        whole = Fraction(meter)
        unit = Fraction(fields["L"]) if "L" in fields else Fraction(1, 16 if whole < Fraction(3, 4) else 8)
        return whole / unit
    except (ValueError, ZeroDivisionError):
        return None


def duration(bar: str) -> Fraction | None:
    """Return the length of a bar's notes in unit lengths; None if it has what is not understood."""
    total, place, last = Fraction(0), 0, Fraction(0)
    factor, left = Fraction(1), 0  # of a tuplet
    broken = Fraction(0)  # what `>` or `<` gives to the next note, as a share of its length
    while place < len(bar):
        if match := TUPLET.match(bar, place):
            notes = int(match[1])
            if notes not in IN_THE_TIME_OF:
                return None
            factor, left, place = Fraction(IN_THE_TIME_OF[notes], notes), notes, match.end()
        elif match := SKIPPED.match(bar, place):
            place = match.end()
        elif bar[place] in "<>":
            share = Fraction(1, 2) if bar[place] == ">" else Fraction(-1, 2)
            total, broken, place = total + last * share, -share, place + 1
        else:
            if bar[place] == "[":
                end = bar.find("]", place)
                inner = NOTE.search(bar, place, end) if end > 0 and ":" not in bar[place:end] else None
                after = LENGTH.match(bar, end + 1)
                if inner is None or after is None:
                    return None
                last, place = _length(*inner.groups()[1:]) * _length(*after.groups()), after.end()
            elif match := NOTE.match(bar, place):
                last, place = _length(*match.groups()[1:]), match.end()
            else:
                return None
            if left:
                last, left = last * factor, left - 1
            total, broken = total + last * (1 + broken), Fraction(0)
    return total


def _length(number: str, slashes: str, divisor: str) -> Fraction:
    below = int(divisor or 2) * 2 ** (len(slashes) - 1) if slashes else 1
    return Fraction(int(number or 1), max(1, below))
