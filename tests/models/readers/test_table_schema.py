"""A schema file overrides what is inferred about a table; its mistakes are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.readers.download import DataError
from models.readers.table_schema import Schema, read_schema
from tests.models.readers.people import PEOPLE, read, spec_of, values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


class TestSchema:
    def test_types_label_log_and_left_out(self, path: Path) -> None:
        schema = {"types": {"age": "category"}, "label": "city", "log": ["height"], "leave_out": ["member"]}
        found = read(path, PEOPLE, schema)
        spec = spec_of(found)
        assert [(column.name, column.type, column.scale) for column in spec.columns] == [
            ("age", "category", "linear"), ("height", "number", "log"),
        ]  # fmt: skip
        assert values(found, "height") == [1.75, 1.8, 1.62, 1.71, None]
        assert (found.classes, spec.label) == (["Oslo", "Rome"], "city")
        assert found.labels is not None
        assert found.labels.tolist() == [0, 1, 0, 1, 1]
        assert "left out: 2 columns: name (text, all different); member (as the schema says)" in found.summary

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ({"types": {"aeg": "number"}}, "types: there is no column 'aeg'; did you mean 'age'?"),
            ({"label": "town"}, "label: there is no column 'town'"),
            ({"types": {"city": "number"}}, "line 2: column 'city': 'Oslo' is not a number, as the schema says"),
            (
                {"types": {"age": "boolean"}},
                "column 'age' is no boolean, as the schema says: its cells are '25', '31', '42', ...",
            ),
            ({"log": ["city"]}, "column 'city' is in \"log\" of the schema, but it is no column of numbers above 0"),
            ({"leave_out": ["age"], "types": {"age": "number"}}, "the column 'age' is left out, so it has no type"),
        ],
    )
    def test_a_schema_that_does_not_fit(self, path: Path, schema: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError) as caught:
            read(path, PEOPLE, schema)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ("[]", "must be an object, such as"),
            ('{"type": {}}', "unknown key 'type'; did you mean 'types'? known: types, leave_out"),
            ('{"types": {"a": "int"}}', "'types' must be an object with one of number, category, boolean for each column"),
            ('{"missing": "NA"}', "'missing' must be a list of texts, not 'NA'"),
            ('{"delimiter": "x"}', "'delimiter' must be one of"),
        ],
    )
    def test_a_schema_file_with_mistakes(self, tmp_path: Path, content: str, message: str) -> None:
        file = tmp_path / "schema.json"
        file.write_text(content)
        with pytest.raises(DataError) as caught:
            read_schema(file)
        assert message in str(caught.value)

    def test_a_schema_file(self, tmp_path: Path) -> None:
        file = tmp_path / "schema.json"
        file.write_text(json.dumps({"types": {"a": "category"}, "missing": ["-999"]}))
        assert read_schema(file) == Schema(types={"a": "category"}, missing=["-999"])
