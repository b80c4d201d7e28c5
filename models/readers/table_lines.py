"""Lines that say what the columns of a table were taken for, which cells are missing, and what is left out."""

from collections import Counter
from collections.abc import Mapping, Sequence

from models.kinds.column import Column
from models.kinds.table import Columns
from models.readers.left_out import counted, listed, plural
from models.readers.path_names import shown
from models.readers.table_survey import Survey

SHOWN = 8  # columns or categories that a line lists
MANY = {"number": ("number", "numbers"), "category": ("category", "categories"), "boolean": ("boolean", "booleans")}


def column_lines(spec: Columns, surveys: Mapping[str, Survey], reasons: Mapping[str, str], inferred: bool = True) -> list[str]:
    """Return the lines. `reasons` says why columns are left out. `inferred`: a schema could still say otherwise."""
    lines = []
    for type, words in MANY.items():
        own = [column for column in spec.columns if column.type == type]
        if own:
            lines.append(f"{plural(len(own), f'column of {words[1]}', f'columns of {words[1]}')}: {_described(own)}")
    if spec.decimal == ",":
        lines.append("decimal commas: 1,5 is read as 1.5")
    if inferred:
        lines += hint_lines([surveys[column.name] for column in spec.columns if column.type == "number"])
    lines += _missing_lines([surveys[name] for name in spec.names if name in surveys])
    if reasons:
        parts: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            parts.setdefault(reason, []).append(shown(name))
        text = "; ".join(f"{listed(names, most=SHOWN)} ({reason})" for reason, names in parts.items())
        lines.append(f"left out: {plural(len(reasons), 'column')}: {text}")
    return lines


def hint_lines(numbers: Sequence[Survey]) -> list[str]:
    """Return warnings about columns of numbers that may be something else: codes, or missing cells written as numbers."""
    lines = []
    for survey in numbers:
        name = shown(survey.name)
        if survey.zeros is not None:
            lines.append(
                f"warning: column {name}: {survey.zeros} is read as the number {int(survey.zeros)}; if these are codes, "
                f'such as of places, write "types": {{"{name}": "category"}} in a --schema, or leave the column out'
            )
        if found := stand_ins(survey):
            text = ", ".join(f"{word} ({count:,} times)" for word, count in found.items())
            lines.append(
                f'warning: column {name}: {text} may mean a missing cell: if so, add it to the "missing" of a --schema, with '
                '"" and what else means one'
            )
    return lines


def stand_ins(survey: Survey) -> dict[str, int]:
    """Return numbers such as -999 that look as if they meant a missing cell, and how often they occur.

    They occur twice or more, and lie farther from all other numbers than these are from each other.
    """
    low, high = survey.inner
    return {
        f"{number:.0f}": count
        for number, count in sorted(survey.stand_ins.items())
        if count > 1 and low < high and not 2 * low - high <= number <= 2 * high - low
    }


def _described(columns: Sequence[Column]) -> str:
    return listed([f"{shown(column.name)} ({_content(column)})" for column in columns], most=SHOWN)


def _content(column: Column) -> str:
    if column.type == "number":
        words = [f"{column.low:g} to {column.high:g}"]
        words += ["whole"] if column.step == 1 else []
        words += ["on a logarithmic scale"] if column.scale == "log" else []
        return ", ".join(words)
    if column.type == "boolean":
        return " or ".join(shown(word) for word in column.categories)
    return listed([shown(name) for name in column.categories], most=SHOWN)


def _missing_lines(surveys: Sequence[Survey]) -> list[str]:
    texts, columns = Counter[str](), Counter[str]()
    for survey in surveys:
        texts.update(survey.missing)
        columns[shown(survey.name)] += survey.missing.total()
    if not texts:
        return ["missing cells: none"]
    by_text = counted({repr(text) if text else "empty": count for text, count in texts.most_common()})
    by_column = counted({name: count for name, count in columns.most_common() if count})
    return [f"missing cells: {texts.total():,} ({by_text}), in the columns {by_column}"]
