"""The recorded numbers: what the service shows is drawn again as well, and what cannot be read is said."""

import json
import math
from pathlib import Path

import pytest

from models.evaluate.__main__ import EvaluationError, recorded
from models.metrics_file import METRICS, as_numbers, finite, write_metrics

ODD = '{"elbo": -1.5, "note": "\\ud800", "far": 1e999, "no": NaN, "deep": %s}' % ("[" * 100 + "]" * 100)


def test_odd_values_are_taken_as_the_service_takes_them(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(ODD)
    metrics = recorded(tmp_path)
    assert metrics.pop("deep")[0][0] is not None
    assert metrics == {"elbo": -1.5, "note": "\ufffd", "far": None, "no": None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; measure first, without --recorded"),
        ("{", "not JSON: Expecting property name.*; measure again, without --recorded"),
        ("[" * 100_000, "not JSON: it is nested .*; measure again, without --recorded"),
        ("[1]", "not a JSON object, or an empty one; measure again, without --recorded"),
        ("{}" + " " * (1 << 20), "has more than the 1048576 bytes allowed"),
    ],
    ids=["nothing", "cut off", "deep", "a list", "long"],
)
def test_numbers_that_cannot_be_read(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / METRICS).write_text(content)
    with pytest.raises(EvaluationError, match=f"{METRICS}: {said}$"):
        recorded(tmp_path)


def test_what_is_not_finite_is_written_as_null_with_a_reason(tmp_path: Path) -> None:
    known = {"not_finite": {"b.c": "nothing varies"}}
    found = finite({"a": math.nan, "b": {"c": -math.inf, "d": 1.5}, "e": [1, math.inf], "protocol": known})
    write_metrics(tmp_path, found)
    assert json.loads((tmp_path / METRICS).read_text(), parse_constant=pytest.fail) == {
        "a": None, "b": {"c": None, "d": 1.5}, "e": [1, None],
        "protocol": {
            "not_finite": {"b.c": "nothing varies", "a": "the computation gave nan", "e.1": "the computation gave inf"}
        },
    }  # fmt: skip
    assert finite({"a": 1.0, "protocol": {}}) == {"a": 1.0, "protocol": {}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics(tmp_path, {"a": math.nan})


def test_what_was_not_finite_is_formatted_as_nan_and_what_is_unknown_stays_none() -> None:
    metrics = {"a": math.inf, "agreement": {"error": None, "elbo": math.nan}, "b": {"c": None}, "protocol": {}}
    found = as_numbers(finite(metrics))
    assert math.isnan(found["a"])
    assert math.isnan(found["b"]["c"]), "as in files of earlier versions"
    assert math.isnan(found["agreement"]["elbo"])
    assert found["agreement"]["error"] is None
