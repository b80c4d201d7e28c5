"""Dicts and CSV become rows and the same again; errors name the row, the column, and what is allowed."""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.kinds import kind_of
from models.kinds.column import Column
from models.kinds.csv_text import BadCsv
from models.kinds.table import Columns
from models.kinds.table_rows import BadRow, fill, hide_each

AGE = Column("age", "number", mean=40, std=10, low=18, high=90, step=1)
FARE = Column("fare", "number", mean=2, std=1, low=0.5, high=500, step=0.01, scale="log")
CITY = Column("city", "category", categories=("Oslo", "Paris", "Rome"))
MEMBER = Column("member", "boolean", categories=("no", "yes"))
SPEC = Columns((AGE, CITY, MEMBER, FARE), left_out=("id",), label="kind")
ITEM: dict[str, Any] = {"age": 31, "city": "Paris", "member": True, "fare": 7.25}


class TestRows:
    def test_an_item_becomes_a_row_and_the_same_item_again(self) -> None:
        rows = SPEC.rows([ITEM])
        np.testing.assert_allclose(rows, [[-0.9, 1, 1, np.log(7.25) - 2]], rtol=1e-6)
        assert rows.dtype == np.float32
        assert SPEC.items(rows) == [ITEM]
        assert type(SPEC.items(rows)[0]["age"]) is int
        assert SPEC.items(rows)[0]["member"] is True

    def test_large_numbers_come_back_exactly(self) -> None:
        spec = Columns((Column("price", "number", mean=5e6, std=1e6, low=0, high=9e6, step=1),))
        prices = np.random.default_rng(0).integers(0, 9_000_000, 500).tolist()
        assert [item["price"] for item in spec.items(spec.rows([{"price": price} for price in prices]))] == prices

    def test_missing_cells_are_nan_and_null(self) -> None:
        rows = SPEC.rows([{}, {"age": None, "city": "NA", "member": "", "fare": "?"}, {"age": float("nan"), "city": " na "}])
        assert np.isnan(rows).all()
        assert SPEC.items(rows[:1]) == [dict.fromkeys(ITEM)]

    def test_columns_that_training_left_out_are_ignored(self) -> None:
        np.testing.assert_array_equal(SPEC.rows([{**ITEM, "id": "x17", "kind": "a"}]), SPEC.rows([ITEM]))

    @pytest.mark.parametrize("value", [True, 1, "yes", "Yes", "true", "1", 1.0])
    def test_words_for_true(self, value: object) -> None:
        assert SPEC.rows([{"member": value}])[0, 2] == 1

    def test_numbers_may_be_categories(self) -> None:
        spec = Columns((Column("class", "category", categories=("1", "2", "3.0")),))
        assert spec.rows([{"class": 2}, {"class": 3.0}, {"class": "1"}])[:, 0].tolist() == [1, 2, 0]

    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ({"age": "abc"}, "row 1: column 'age': 'abc' is not a number"),
            ({"age": True}, "row 1: column 'age': true is not a number"),
            ({"age": "1_0"}, "row 1: column 'age': '1_0' is not a number: use the digits 0 to 9, without underscores"),
            ({"age": "\u0663\u0661"}, "row 1: column 'age': '\u0663\u0661' is not a number: use the digits 0 to 9"),
            ({"city": True}, "row 1: column 'city': true is not a known category"),
            ({"age": [1]}, "row 1: column 'age': [1] is not a number"),
            ({"age": "inf"}, "row 1: column 'age': 'inf' is not a finite number"),
            ({"age": 1e30}, "row 1: column 'age': 1e+30 is too far from the values of the training rows, 18 to 90"),
            ({"fare": 0}, "row 1: column 'fare': 0 is not above 0"),
            (
                {"city": "Pariss"},
                "row 1: column 'city': 'Pariss' is not a known category; did you mean 'Paris'? known: 'Oslo', ",
            ),
            ({"member": "maybe"}, "row 1: column 'member': 'maybe' is no boolean: use true or false, or no or yes"),
            ({"agee": 3}, "row 1: unknown column 'agee'; did you mean 'age'? known: 'age', 'city', 'member', 'fare'"),
            (17, 'row 1: must be an object such as {"age": 40'),
        ],
    )
    def test_errors_name_row_column_and_what_is_allowed(self, item: Any, message: str) -> None:
        with pytest.raises(BadRow) as caught:
            SPEC.rows([ITEM, item])
        assert str(caught.value).startswith(message)
        assert caught.value.item == 1

    def test_a_number_far_outside_of_the_training_range_is_a_remark(self) -> None:
        rows = SPEC.rows([{"age": 161, "fare": 3}, {"age": 163}, {"age": -55, "fare": 1e6}])
        assert SPEC.remarks(rows) == [
            "row 1: column 'age': 163 is far outside of 18 to 90, the range of the training rows",
            "row 2: column 'age': -55 is far outside of 18 to 90, the range of the training rows",
            "row 2: column 'fare': 1e+06 is far outside of 0.5 to 500, the range of the training rows",
        ]
        assert SPEC.remarks(rows, [{}, {"age": 163.000001}, {}])[0].startswith("row 1: column 'age': 163.000001 is far")

    def test_cells_that_were_sent_stay_exactly(self) -> None:
        item = {"age": 31.123456789, "city": " Rome", "member": None}
        rows = SPEC.rows([{**ITEM, "age": 31.123456789, "city": "Rome"}])
        assert SPEC.items(rows, [item]) == [{**ITEM, "age": 31.123456789, "city": " Rome"}]
        assert SPEC.csv_of(rows, [item]) == "age,city,member,fare\n31.123456789, Rome,yes,7.25\n"
        of_file = SPEC.items_of_csv(["age;city;member;fare\n", "31,10;Rome;YES;7.250\n"])
        assert SPEC.csv_of(rows, of_file) == "age,city,member,fare\n31.10,Rome,YES,7.250\n"
        assert SPEC.items(rows, of_file) == [{**ITEM, "age": 31.1, "city": "Rome"}]

    def test_letters_with_accents_are_the_same_as_one_character_or_two(self) -> None:
        for known, given in (("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")):
            spec = Columns((Column(known, "category", categories=("a", known)),), left_out=(f"b{known}",))
            assert spec.rows([{given: given, f"b{given}": 1}]).tolist() == [[1]]
            assert rows_of_csv(spec, f"{given}\n{given}\n{known}\n").tolist() == [[1], [1]]

    def test_fill_keeps_what_is_there(self) -> None:
        rows = SPEC.rows([{"age": 31}])
        filled = fill(rows, SPEC.rows([{**ITEM, "age": 50}]))
        assert SPEC.items(filled) == [ITEM]

    def test_hide_each_hides_one_cell_at_a_time(self) -> None:
        hidden = hide_each(SPEC.rows([ITEM]))
        assert np.isnan(hidden[0]).sum() == 4
        assert np.isnan(np.diagonal(hidden[0])).all()


def rows_of_csv(spec: Columns, text: str) -> Any:
    return spec.rows(spec.items_of_csv(io.StringIO(text, newline="")))


class TestCsv:
    def test_csv_with_any_delimiter_and_quotes(self) -> None:
        expected = SPEC.rows([ITEM, {**ITEM, "age": None}])
        for delimiter in ",;\t|":
            lines = ["city,age,id,member,fare", '"Paris",31,1,yes,7.25', "Paris,,2,yes,7.25"]
            text = "\r\n".join(lines).replace(",", delimiter)
            np.testing.assert_array_equal(rows_of_csv(SPEC, text), expected)

    def test_only_ends_of_lines_end_lines(self) -> None:
        spec = Columns((Column("note", "category", categories=("a\u2028b", "c\nd", "e\x0bf")), AGE))
        rows = rows_of_csv(spec, 'note,age\na\u2028b,1\r\n"c\nd",2\re\x0bf,3\n')
        assert rows[:, 0].tolist() == [0, 1, 2]

    def test_rows_become_csv_and_the_same_rows(self) -> None:
        rows = SPEC.rows([ITEM, {"city": "Rome"}])
        assert SPEC.csv_of(rows) == "age,city,member,fare\n31,Paris,yes,7.25\n,Rome,,\n"
        np.testing.assert_array_equal(rows_of_csv(SPEC, SPEC.csv_of(rows)), rows)

    def test_decimal_commas_of_the_training_file(self) -> None:
        spec = Columns((FARE, AGE), decimal=",")
        np.testing.assert_array_equal(rows_of_csv(spec, "fare;age\n7,25;31\n"), spec.rows([{"fare": 7.25, "age": 31}]))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "the CSV is empty: it needs a line with the names of columns, such as age,city,member"),
            ("age,town\n1,2\n", "unknown column 'town'; known: 'age', 'city', 'member', 'fare'"),
            ("age,city\n1,Oslo\n3\n", "row 1 (line 3): has 1 cells, the header names 2 columns"),
            ("age,city\n1,Oslo\nx,Oslo\n", "row 1 (line 3): column 'age': 'x' is not a number"),
            ("age,age\n1,2\n", "columns 1 and 2 are both named 'age'"),
        ],
    )
    def test_errors_name_the_line(self, text: str, message: str) -> None:
        with pytest.raises((BadRow, BadCsv)) as caught:
            rows_of_csv(SPEC, text)
        assert str(caught.value).startswith(message)

    def test_an_empty_line_is_a_missing_cell_where_there_is_one_column_and_nothing_elsewhere(self) -> None:
        rows = rows_of_csv(SPEC, 'age\n\n31\n""\n')
        np.testing.assert_array_equal(rows, SPEC.rows([{}, {"age": 31}, {}]))
        assert len(rows_of_csv(SPEC, "age,city\n\n31,Rome\n\n")) == 1

    def test_decimal_commas_are_read_unless_commas_separate_the_cells(self) -> None:
        expected = SPEC.rows([{"fare": 7.25, "city": "Rome"}, {"fare": 1.5, "city": "Oslo"}])
        np.testing.assert_array_equal(rows_of_csv(SPEC, "fare;city\n7,25;Rome\n1.5;Oslo\n"), expected)
        with pytest.raises(BadRow, match="'7,25' is not a number: use a decimal point"):
            rows_of_csv(SPEC, 'fare,city\n"7,25",Rome\n')

    def test_a_file_without_names_is_read_if_the_model_was_trained_on_one(self) -> None:
        spec = Columns((Column("column 1", "number", low=0, high=9), Column("column 2", "number", low=0, high=9)))
        np.testing.assert_array_equal(rows_of_csv(spec, "1,2\n3,4\n"), [[1, 2], [3, 4]])
        with pytest.raises(BadRow, match="unknown column '1'"):
            rows_of_csv(SPEC, "1,2\n3,4\n")

    def test_many_names_are_refused_quickly(self) -> None:
        before = time.process_time()
        with pytest.raises(BadRow, match="unknown column 'c0'"):
            rows_of_csv(SPEC, ",".join(f"c{i}" for i in range(100_000)) + "\n")
        assert time.process_time() - before < 5  # with a search for each name it took minutes

    def test_no_more_rows_are_read_than_asked_for_and_long_ones_are_refused(self) -> None:
        lines = iter(["age\n", *["31\n"] * 1000])
        assert len(SPEC.items_of_csv(lines, most=200)) == 200
        assert next(lines) == "31\n"
        with pytest.raises(BadCsv, match="line 3: a row of more than 100 characters"):
            SPEC.items_of_csv(["age,city\n", '1,"a\n', "b" * 100 + '"\n'], most_characters=100)

    def test_a_header_alone_is_no_row(self) -> None:
        assert rows_of_csv(SPEC, "age,city\n").shape == (0, 4)


class TestStored:
    def test_a_range_far_from_the_mean_is_refused(self) -> None:
        spec = Columns((Column("a", "number", mean=0, std=1e-50, low=0, high=1),))
        with pytest.raises(ValueError, match="column 'a': low and high must be within 1e\\+06 std of the mean"):
            kind_of("table").check_preprocessing(spec, {"cardinalities": [0]})

    def test_columns_are_stored_as_json(self) -> None:
        stored = json.loads(json.dumps(SPEC.stored()))
        assert kind_of("table").preprocessing(**stored) == SPEC
        assert SPEC.shape == (4,)

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ({"name": "a", "type": "date"}, "type must be one of number, category, boolean, not 'date'"),
            ({"name": "a", "type": "number"}, "low must be below high"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "std": 0}, "std must be above 0"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "mean": 1e308}, "mean must be at most 1e\\+100"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "std": 1e-320}, "std must be at least 1e-100"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "step": 1e-300}, "and step too, or 0"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "mean": 1e999}, "mean must be a finite number"),
            ({"name": "a", "type": "number", "low": 0, "high": 1, "scale": "log"}, "above 0 on a logarithmic scale"),
            ({"name": "a", "type": "category", "categories": ["x"]}, "has 2 to 1000 categories, not 1"),
            ({"name": "a", "type": "category", "categories": ["x", "x"]}, "two of its categories are the same"),
            ({"name": "", "type": "boolean"}, "the name of a column must be text of 1 to 1000 characters"),
            ({"name": "a", "kind": "number"}, "column 'a' has the unknown key 'kind'; known keys: name, type"),
            (3, "each of the columns must be an object, not 3"),
        ],
    )
    def test_a_bad_column_of_a_config_is_refused(self, column: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            kind_of("table").preprocessing(columns=[column])

    def test_two_columns_of_one_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two columns have the same name"):
            Columns((AGE, AGE))


def test_real_rows_come_back_as_they_were(penguins: Path) -> None:
    from models.readers.table import read_table

    found = read_table(penguins)
    spec = found.preprocessing
    assert isinstance(spec, Columns)
    np.testing.assert_array_equal(spec.rows(spec.items(found.x)), found.x)
    np.testing.assert_array_equal(rows_of_csv(spec, penguins.read_text()), found.x)
    assert spec.csv_of(found.x) == penguins.read_text().replace("NA", "")
