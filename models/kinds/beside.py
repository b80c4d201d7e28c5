"""Columns of a file that say which item a row is: its id, and metadata. Knows nothing of models, files or HTTP."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from models.kinds.column import listed
from models.kinds.table_rows import BadRow

ALL = "*"
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")  # also in JSON, and no loss for whole ones
Metadata = dict[str, str | int | float]


@dataclass(frozen=True)
class Beside:
    """The column of ids, and those that become metadata; ("*",): all that the model does not take."""

    id: str | None = None
    metadata: tuple[str, ...] = ()

    def chosen(self, names: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the columns of a file that are wanted; `known`: those of the model. Raises BadRow if one is not there."""
        more = [name for name in names if name not in known] if self.metadata == (ALL,) else self.metadata
        for name in (*([] if self.id is None else [self.id]), *more):
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise BadRow(f"there is no column {name!r}; {hint}the columns are {listed(names)}")
        return list(dict.fromkeys((*more, *([] if self.id is None else [self.id]))))

    def ids(self, texts: Mapping[str, Sequence[str]], is_missing: Callable[[str], bool]) -> list[str] | None:
        """Return the ids, None without a column of them. Raises ValueError for a row that has none."""
        if self.id is None:
            return None
        found = list(texts.get(self.id, ()))
        if (empty := next((i for i, text in enumerate(found) if is_missing(text)), None)) is not None:
            raise ValueError(f"row {empty} has no id: its cell in the column {self.id!r} is {found[empty]!r}")
        return found

    def metadata_of(self, texts: Mapping[str, Sequence[str]], is_missing: Callable[[str], bool]) -> list[Metadata]:
        """Return the metadata of each row. Missing cells have none; a column with nothing but numbers has numbers."""
        more = [name for name in texts if name != self.id or name in self.metadata]
        count = max((len(cells) for cells in texts.values()), default=0)
        found: list[Metadata] = [{} for _ in range(count)]
        for name in more:
            there = [(i, text) for i, text in enumerate(texts[name]) if not is_missing(text)]
            numeric = all(NUMBER.fullmatch(text) for _, text in there)
            for i, text in there:
                found[i][name] = _number(text) if numeric else text
        return found


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
