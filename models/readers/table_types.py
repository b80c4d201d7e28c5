"""Decide what each column of a table is, from a survey of its cells and the schema: number, category, boolean or nothing.

What is decided is said in lines; what is not clear is refused with what to do. Knows nothing of files.
"""

from collections.abc import Mapping
from typing import NamedTuple

from models.kinds.column import FALSE_WORDS, MOST_CATEGORIES, TRUE_WORDS, Column, Type
from models.readers.download import DataError
from models.readers.table_schema import Schema
from models.readers.table_survey import Survey

# A column whose cells are numbers but for at most this share is one with mistakes in it.
MISTAKES = 0.1
# Texts of which there are more than FEW are no categories if more than this share of the cells are different.
FEW, DIFFERENT = 20, 0.5
COUNTED = 10  # So many numbers in sequence are those of rows.
IDS = ("id", "_id", "uuid", "guid", "index", "rowid", "row_id", "key")


class Decided(NamedTuple):
    """The type of a column, or the reason why it is left out."""

    type: Type | None
    reason: str = ""


def decide(survey: Survey, schema: Schema, where: str, decimal: str) -> Decided:
    """Return what a column is. Raises DataError if it may be a number with mistakes, or the schema does not fit."""
    name, wanted = survey.name, schema.types.get(survey.name)
    numbers = survey.numbers + (survey.commas if decimal == "," else 0)
    if name in schema.leave_out:
        return Decided(None, "as the schema says")
    if not survey.count:
        return Decided(None, "all cells are missing")
    if survey.different == 1:
        return Decided(None, "constant")
    if wanted == "number" and numbers < survey.count:
        what = 'correct it, or add it to "missing"'
        if numbers < (1 - MISTAKES) * survey.count:  # a whole column of dates, say: nobody wants it to be missing
            what = (
                f"only {numbers:,} of {survey.count:,} cells are. Write numbers instead, such as a year or days since a date, "
                'or give it another type, or leave it out with "leave_out"'
            )
        raise DataError(f"{_not_a_number(survey, where)}, as the schema says: {what}")
    if wanted == "boolean" and not booleans(survey):
        raise DataError(f"{where}: column {name!r} is no boolean, as the schema says: its cells are {_some(survey)}")
    if wanted == "category" and survey.texts is None:
        raise DataError(f"{where}: column {name!r} has more than {MOST_CATEGORIES} categories: leave it out")
    if wanted:
        return Decided(wanted)
    if booleans(survey):
        return Decided("boolean")
    if numbers == survey.count:
        if survey.low == survey.high:
            return Decided(None, "constant")
        if survey.different == 2 and survey.decimals == 0:
            return Decided("category")
        if survey.counting and survey.count >= COUNTED:
            return Decided(None, "row numbers")
        if name.lower() in IDS and survey.different in (None, survey.count) and survey.decimals == 0:
            return Decided(None, "ids")
        return Decided("number")
    if numbers >= (1 - MISTAKES) * survey.count:
        raise DataError(
            f"{_not_a_number(survey, where)}, but {numbers:,} of {survey.count:,} cells are: correct it, or write a --schema "
            f'with "missing": ["{(survey.first_text or (0, ""))[1][:40]}"] or "types": {{"{name}": "category"}}'
        )
    if survey.texts is None:
        return Decided(None, f"text, more than {MOST_CATEGORIES} different")
    if len(survey.texts) == survey.count:
        return Decided(None, "text, all different")
    if len(survey.texts) > FEW and len(survey.texts) > DIFFERENT * survey.count:
        return Decided(None, f"text, {len(survey.texts)} different in {survey.count} cells")
    return Decided("category")


def decimal_of(surveys: Mapping[str, Survey], schema: Schema, delimiter: str, where: str) -> str:
    """Return the decimal point or comma of a CSV file. Raises DataError if commas may be either points or thousands."""
    if schema.decimal:
        return schema.decimal
    whole = [one for one in surveys.values() if one.commas and one.numbers + one.commas == one.count]
    if whole and delimiter == ",":
        raise DataError(
            f"{where}: column {whole[0].name!r} has numbers with commas, which may be decimal commas or thousands: write a "
            '--schema with "decimal": ",", or remove the commas'
        )
    return "," if whole else "."


def booleans(survey: Survey) -> tuple[str, str] | None:
    """Return the texts for false and true, None if the column has others."""
    if survey.texts is None or len(survey.texts) != 2:
        return None
    words = {_word(text): text for text in survey.texts}
    for false, true in zip(FALSE_WORDS, TRUE_WORDS, strict=True):
        if words.keys() == {false, true}:
            return words[false], words[true]
    return None


def category_names(survey: Survey) -> list[str]:
    """Return the categories in order: numbers by value, otherwise as text."""
    names = list(survey.texts or ())
    if survey.numbers == survey.count:
        return sorted(names, key=float)
    return sorted(names)


def column_of(survey: Survey, type: Type, log: bool) -> Column:
    """Return the column as it is known before its mean and deviation are measured."""
    if type == "boolean":
        return Column(survey.name, type, categories=booleans(survey) or ("false", "true"))
    if type == "category":
        return Column(survey.name, type, categories=category_names(survey))
    step = 0.0 if survey.decimals is None else 10.0**-survey.decimals
    return Column(survey.name, type, low=survey.low, high=survey.high, step=step, scale="log" if log else "linear")


def _word(text: str) -> str:
    word = text.lower()
    return word[:-2] if word in ("0.0", "1.0") else word


def _some(survey: Survey) -> str:
    names = sorted(survey.texts or (survey.first_text or (0, "many texts"))[1:])
    return ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _not_a_number(survey: Survey, where: str) -> str:
    line, text = survey.first_text or (0, "")
    return f"{where}: line {line}: column {survey.name!r}: {text[:80]!r} is not a number"
