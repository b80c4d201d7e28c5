"""Tables as others write them: what is inferred is said, what is left out is named, and what is unclear is refused."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from models.readers import table
from models.readers.download import DataError
from models.readers.table import TableOptions, read_table
from models.readers.table_cells import open_csv
from tests.models.readers.people import PEOPLE, read, spec_of, values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


class TestColumns:
    def test_types_missing_cells_ids_and_splits(self, path: Path) -> None:
        found = read(path, PEOPLE)
        assert [(column.name, column.type) for column in spec_of(found).columns] == [
            ("age", "number"), ("height", "number"), ("city", "category"), ("member", "boolean"),
        ]  # fmt: skip
        assert values(found, "age") == [31, 42, None, 25, 58]
        assert values(found, "height") == [1.75, 1.8, 1.62, 1.71, None]
        assert values(found, "member") == [True, False, False, True, True]
        assert found.splits == ["train", "train", "test", "train", "train"]
        assert found.summary[1:] == [
            "CSV: utf-8, comma between cells",
            "2 columns of numbers: age (25 to 58, whole), height (1.71 to 1.8)",
            "1 column of categories: city (Oslo, Rome)",
            "1 column of booleans: member (no or yes)",
            "missing cells: 2 ('NA' 1, empty 1), in the columns age 1, height 1",
            "left out: 1 column: name (text, all different)",
        ]

    def test_mean_deviation_and_range_are_those_of_the_training_rows(self, path: Path) -> None:
        height = spec_of(read(path, PEOPLE)).columns[1]
        there = np.array([1.75, 1.8, 1.71])
        assert (height.mean, height.std) == pytest.approx((there.mean(), there.std()))
        assert (height.low, height.high, height.step) == (1.71, 1.8, 0.01)

    @pytest.mark.parametrize(
        ("cells", "type"),
        [
            (["0", "1", "1"], "boolean"), (["True", "False", "True"], "boolean"), (["Y", "N", "N"], "boolean"),
            (["0.0", "1.0", ""], "boolean"), (["1", "2", "2"], "category"), (["1", "2", "3"], "number"),
            (["a", "b", "a"], "category"), (["1e3", "-2.5E-3", "7"], "number"), (["0.5", "1.5", "0.5"], "number"),
        ],
    )  # fmt: skip
    def test_type_of(self, path: Path, cells: list[str], type: str) -> None:
        found = read(path, "x,n\n" + "".join(f"{cell},{n}\n" for n, cell in zip((1, 5, 3), cells, strict=True)))
        assert spec_of(found).columns[0].type == type

    @pytest.mark.parametrize(
        ("cells", "reason"),
        [
            ([str(n) for n in range(1, 31)], "row numbers"),
            ([f"text {n}" for n in range(30)], "text, all different"),
            ([f"text {n // 2 if n < 4 else n}" for n in range(30)], "text, 28 different in 30 cells"),
            (["same"] * 30, "constant"),
            (["1", "1.0"] * 15, "constant"),
            (["NA"] * 30, "all cells are missing"),
        ],
    )
    def test_columns_that_say_nothing_are_left_out_and_named(self, path: Path, cells: list[str], reason: str) -> None:
        found = read(path, "x,n\n" + "".join(f"{cell},{n * n % 7}\n" for n, cell in enumerate(cells)))
        assert spec_of(found).names == ["n"]
        assert spec_of(found).left_out == ("x",)
        assert f"left out: 1 column: x ({reason})" in found.summary

    def test_an_id_is_left_out_by_its_name(self, path: Path) -> None:
        found = read(path, "id,n\n7,1\n3,2\n5,4\n")
        assert spec_of(found).names == ["n"]

    def test_a_number_with_a_mistake_is_refused_with_its_line(self, path: Path) -> None:
        content = "age,n\n" + "".join(f"{n * n},{n % 3}\n" for n in range(30)) + "abc,1\n"
        with pytest.raises(
            DataError, match=r"line 32: column 'age': 'abc' is not a number, but 30 of 31 cells are: .*--schema"
        ):
            read(path, content)
        found = read(path, content, {"missing": ["abc"]})
        assert values(found, "age")[-1] is None
        assert spec_of(read(path, content, {"types": {"age": "category"}})).columns[0].type == "category"

    def test_codes_and_numbers_for_missing_cells_get_a_hint(self, path: Path) -> None:
        rows = "".join(f"{n * 37 % 900 + 1000:05d},{-999 if n % 9 == 4 else n % 40},{n % 7 * 0.5}\n" for n in range(50))
        hints = [line for line in read(path, "zip,age,size\n" + rows).summary if line.startswith("warning")]
        assert hints[0].startswith("warning: column zip: 01000 is read as the number 1000; if these are codes")
        assert "column age: -999 (6 times) may mean a missing cell" in hints[1]
        assert len(hints) == 2
        schema = {"types": {"zip": "category"}, "missing": ["", "-999"]}
        assert not [line for line in read(path, "zip,age,size\n" + rows, schema).summary if line.startswith("warning")]
        plain = "age,n\n" + "".join(f"{n},{99 if n % 5 else n}\n" for n in range(100))
        assert not [line for line in read(path, plain).summary if line.startswith("warning")], "99 is within the others"

    def test_penguins(self, penguins: Path) -> None:
        found = read_table(penguins)
        assert found.x.shape == (344, 8)
        assert np.isnan(found.x).sum() == 19
        assert (
            "missing cells: 19 ('NA' 19), in the columns sex 11, bill_length_mm 2, bill_depth_mm 2, flipper_length_mm 2, "
            in ("\n".join(found.summary))
        )
        numbers = [k for k, column in enumerate(spec_of(found).columns) if column.type == "number"]
        np.testing.assert_allclose(np.nanmean(found.x[:, numbers], 0), 0, atol=1e-5)
        np.testing.assert_allclose(np.nanstd(found.x[:, numbers], 0), 1, atol=1e-5)


class TestCsv:
    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    def test_delimiters(self, path: Path, delimiter: str) -> None:
        found = read(path, PEOPLE.replace(",", delimiter))
        np.testing.assert_array_equal(found.x, read(path, PEOPLE).x)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
    def test_encodings(self, path: Path, encoding: str) -> None:
        found = read(path, PEOPLE.replace("Oslo", "Malmö").encode(encoding))
        assert spec_of(found).columns[2].categories == ("Malmö", "Rome")
        assert spec_of(found).names[0] == "age"

    def test_letters_with_accents_are_one_character(self, path: Path) -> None:
        path.write_text("cafe\u0301,b\n" + "e\u0301,1\n\u00e9,2\na,4\na,3\n" * 5)
        found = read_table(path).preprocessing
        assert (found.names[0], found.columns[0].categories) == ("caf\u00e9", ("a", "\u00e9"))

    def test_gzip_quotes_and_line_ends(self, path: Path) -> None:
        quoted = "\r\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in PEOPLE.splitlines())
        zipped = path.with_suffix(".csv.gz")
        np.testing.assert_array_equal(read(zipped, gzip.compress(quoted.encode())).x, read(path, PEOPLE).x)

    def test_decimal_commas_are_told(self, path: Path) -> None:
        found = read(path, "a;b\n1,5;2\n2,25;3\n3;7\n")
        assert values(found, "a") == [1.5, 2.25, 3]
        assert "decimal commas: 1,5 is read as 1.5" in found.summary
        assert spec_of(found).decimal == ","

    def test_commas_that_may_be_thousands_are_refused(self, path: Path) -> None:
        content = 'a,b\n"1,500",2\n"2,250",3\n"3,100",7\n'
        with pytest.raises(DataError, match="column 'a' has numbers with commas, which may be decimal commas or thousands"):
            read(path, content)
        assert values(read(path, content, {"decimal": ","}), "a") == [1.5, 2.25, 3.1]

    def test_no_header(self, path: Path) -> None:
        found = read(path, "1.5,2\n2.5,3\n3.5,7\n")
        assert spec_of(found).names == ["column 1", "column 2"]
        assert len(found.x) == 3
        assert "no names of columns, because the first line has only numbers" in found.summary[1]

    def test_a_column_without_a_name_is_numbered(self, path: Path) -> None:
        found = read(path, ",b\n1.5,2\n2.5,3\n3.5,7\n")
        assert spec_of(found).names == ["column 1", "b"]
        assert "1 column without a name: it is numbered" in found.summary

    def test_a_ragged_line_is_left_out_and_named(self, path: Path) -> None:
        found = read(path, PEOPLE + "Fay,33\n")
        assert len(found.x) == 5
        assert found.summary[-1] == "left out: 1 line without 6 cells, as the header has: line 7 has 2"

    def test_too_many_ragged_lines_are_refused(self, path: Path) -> None:
        with pytest.raises(
            DataError, match="2 lines without 6 cells, as the header has: line 7 has 2; line 8 has 1; correct them"
        ):
            read(path, PEOPLE + "Fay,33\nGus\n")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "the file is empty"),
            ("a,b\n", "only 0 rows below the names of columns"),
            ("a,a\n1,2\n", "columns 1 and 2 are both named 'a'"),
            (b"PAR1\0\0\0", "has zero bytes, so it is not a text file"),
            ("a" * 1001 + ",b\n1,x\n", "the name of a column has 1001 characters, 1000 are allowed"),
            ("a,b\n1e308,1\n-1e308,2\n1e308,4\n", "line 2: column 'a': 1e308 is too large: numbers may be up to 1e\\+100"),
            (",".join(f"c{i}" for i in range(10_001)) + "\n", "has 10,001 columns, at most 10,000 are allowed"),
            (
                "a,b\n1,1\n2,1_000\n3,4\n2,5\n3,6\n2,1\n3,6\n2,5\n3,6\n4,7\n5,5\n",
                "line 3: column 'b': '1_000' is not a number",
            ),
            ("a,b\n1e-310,1\n2e-310,3\n1e-310,2\n", "column 'a': its training values, 1e-310 to 2e-310, differ too little"),
            ("a,b,split\n1,2,test\n2,4,test\n4,3,test\n", "no training rows: the column 'split' has only test"),
            ("a,b\n1,x\n1,y\n", "no column is left to learn from: a: constant; b: text, all different"),
            ('a,b\n"' + "x" * 200_000 + '",1\n', "line 2: column 1: a cell has more than 131,072 characters"),
            ("a,b\n1," + "x" * 200_000 + "\n", "line 2: column 2: a cell has more than 131,072 characters"),
            ('a,b\n1,"Ade"lie\n2,3\n', "line 2: after the quote that ends a cell, comma or the end of the line must follow"),
            ('a,b\n1,2\n3,"x\n4,5\n', "line 3: a cell begins with a quote .*, and there is no quote that ends it"),
            ("a,b\n1,2,3\n4,5,6\n7\n", "3 lines without 2 cells, as the header has: line 2 has 3; line 3 has 3; line 4 has 1"),
        ],
    )
    def test_what_is_no_table(self, path: Path, content: str | bytes, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read(path, content)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(DataError, match="not a file"):
                read_table(path)

    def test_no_such_file(self, path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            read_table(path)

    def test_a_table_larger_than_the_memory_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "free_memory", lambda: 100)
        with pytest.raises(DataError, match=r"5 rows of 4 columns need .* of memory, .* are free"):
            read(path, PEOPLE)

    def test_blocks_give_the_same(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = read(path, PEOPLE)
        monkeypatch.setattr("models.readers.table_cells.BLOCK", 2)
        blocks = read(path, PEOPLE)
        np.testing.assert_array_equal(blocks.x, whole.x)
        assert blocks.summary == whole.summary


class TestModel:
    def test_the_columns_of_a_model_are_used_as_they_are(self, path: Path) -> None:
        model = spec_of(read(path, PEOPLE, {"label": "city"}))
        path.write_text("height,age,member,city,more\n1.75,31,no,Rome,x\n1.5,77,yes,Oslo,y\n")
        found = read_table(path, options=TableOptions(model=model))
        assert found.preprocessing is model
        assert values(found, "age") == [31, 77]
        assert found.classes == ["Oslo", "Rome"]

    def test_a_column_that_is_missing_is_named(self, path: Path) -> None:
        model = spec_of(read(path, PEOPLE))
        path.write_text("age,city,member\n1,Rome,yes\n2,Rome,no\n")
        with pytest.raises(DataError, match="has no column 'height', which the model takes"):
            read_table(path, options=TableOptions(model=model))
        found = read_table(path, options=TableOptions(model=model, may_lack=True))
        assert values(found, "height") == [None, None]
        assert "not in the file, so that all their cells are missing: 'height'" in found.summary
        path.write_text("AGE,CITY\n1,Rome\n")
        with pytest.raises(DataError, match="has none of the columns of the model, 'age', 'height', 'city', 'member'; it has"):
            read_table(path, options=TableOptions(model=model, may_lack=True))

    def test_what_a_schema_could_change_is_said_only_in_training(self, path: Path) -> None:
        content = PEOPLE.replace(",31,", ",031,")
        assert any("in a --schema" in line for line in read(path, content).summary)
        model = spec_of(read(path, PEOPLE))
        path.write_text(content)
        assert not any("--schema" in line for line in read_table(path, options=TableOptions(model=model)).summary)

    def test_one_row_is_enough_and_the_others_are_named(self, path: Path) -> None:
        model = spec_of(read(path, PEOPLE))
        path.write_text("age,height,city,member\n1\n\n2,1.7,Rome,no\n3,4\n")
        found = read_table(path, options=TableOptions(model=model, max_corrupt=1.0))
        assert (found.names, values(found, "age")) == (["000001"], [2])
        assert [one[:2] for one in found.unread] == [("000000", "line 2"), ("000002", "line 5")]
        assert found.unread[0].reason == "has 1 cells, the header names 4 columns"
        path.write_text("age,height,city,member\n1,2\n")
        with pytest.raises(DataError, match=r"only 0 rows .*, at least 1 is needed; left out: 1 line without 4 cells"):
            read_table(path, options=TableOptions(model=model))

    def test_spaces_after_a_quoted_cell_do_not_count(self, path: Path) -> None:
        path.write_text('a , "b"\n"x" , "p, ""q"" , r" \n" y", z\n')
        cells = [cells for block in open_csv(path).blocks() for _, cells in block]
        assert cells == [["x", 'p, "q" , r'], ["y", "z"]]

    def test_an_unknown_category_is_named_with_its_line(self, path: Path) -> None:
        model = spec_of(read(path, PEOPLE))
        path.write_text(PEOPLE.replace("Cid,NA,1.62,Oslo", "Cid,NA,1.62,Bonn"))
        with pytest.raises(DataError, match="line 4: column 'city': 'Bonn' is not a known category; known: 'Oslo', 'Rome'"):
            read_table(path, options=TableOptions(model=model))


class TestParquet:
    def test_parquet_gives_the_rows_of_csv(self, path: Path) -> None:
        arrow_csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
        whole = read(path, PEOPLE)
        file = path.with_suffix(".parquet")
        parquet.write_table(arrow_csv.read_csv(path), file)
        found = read_table(file, parquet=True)
        np.testing.assert_array_equal(found.x, whole.x)
        assert found.splits == whole.splits

    def test_without_pyarrow_the_error_says_what_to_install(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(DataError, match=r"reading Parquet needs pyarrow: pip install 'vae-service\[parquet\]'"):
            read_table(path, parquet=True)
