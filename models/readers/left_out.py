"""Counts of what a reader leaves out, with reasons and examples, as text. Knows nothing of files or pictures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

EXAMPLES = 3


def listed(names: list[str], count: int | None = None, most: int = EXAMPLES) -> str:
    """Return "a, b, c and 4 more" for names, of which there are `count` in all."""
    more = (len(names) if count is None else count) - min(len(names), most)
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def counted(counts: Mapping[str, int], most: int = 8) -> str:
    """Return "cat 20, dog 10" for counts, in the order of the mapping."""
    return listed([f"{name} {count:,}" for name, count in counts.items()], most=most)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return "1 file" or "3 files"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def of_all(count: int, whole: int, one: str) -> str:
    """Return "0 of 1 picture is", "1 of 20 pictures is" or "3 of 20 pictures are"."""
    return f"{count:,} of {plural(whole, one)} {'is' if 1 in (count, whole) else 'are'}"


@dataclass
class LeftOut:
    """What was left out: the number and the first names for each reason."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)
    more: Counter[str] = field(default_factory=Counter)  # files and folders that are not among the names
    suffixes: Counter[str] = field(default_factory=Counter)  # of files of other kinds

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count one file or folder, which stands for `count` files."""
        self.counts[reason] += count
        names = self.names.setdefault(reason, [])
        if len(names) < EXAMPLES:
            names.append(name)
        else:
            self.more[reason] += 1

    def lines(self) -> list[str]:
        """Return one line, or none if nothing was left out."""
        parts = [f"{reason}: {count:,} ({listed(self.names[reason])}{', ...' if self.more[reason] else ''})"
                 for reason, count in self.counts.items()]  # fmt: skip
        if self.suffixes:
            by_suffix = counted(dict(self.suffixes.most_common()), most=5)
            parts.append(f"files of other kinds: {self.suffixes.total():,} ({by_suffix})")
        return ["left out: " + "; ".join(parts)] if parts else []


def one_of(names: list[str]) -> str:
    """Return "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
