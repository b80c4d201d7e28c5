"""What became of a batch of items, and of all items of a load. Knows nothing of files, models or stores."""

from dataclasses import dataclass, field
from typing import NamedTuple

from service.store.interface import Items


class Unreadable(NamedTuple):
    """An item that could not be read, or not be stored: its id, the file or the row that it is, and the reason."""

    id: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(slots=True)
class Noticed:
    """What was noticed about items: those that could not be read, and warnings about the others."""

    unreadable: list[Unreadable] = field(default_factory=list)
    # Code of a warning -> the number of items that have it, and the first of them with the details.
    warnings: dict[str, tuple[int, str]] = field(default_factory=dict)
    least: int = 255  # the smallest and the largest byte of the pictures
    most: int = 0

    def warn(self, code: str, id: str, detail: str) -> None:
        """Count a warning about an item, and keep the first of its code with the details."""
        count, first = self.warnings.get(code, (0, f"{id}: {detail}"))
        self.warnings[code] = count + 1, first

    def add(self, other: "Noticed") -> None:
        """Add what was noticed about later items."""
        self.unreadable += other.unreadable
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        for code, (count, first) in other.warnings.items():
            before, earlier = self.warnings.get(code, (0, first))
            self.warnings[code] = before + count, earlier


@dataclass(slots=True)
class Encoded:
    """The posteriors of a batch of `count` items without those that could not be read."""

    items: Items
    count: int
    noticed: Noticed


@dataclass(slots=True)
class Counts(Noticed):
    """What became of the items of a load."""

    added: int = 0
    replaced: int = 0
    there: int = 0  # already stored, with the same posterior and label if that was looked at
