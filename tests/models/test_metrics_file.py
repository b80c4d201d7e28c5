"""The recorded numbers: what the service shows is drawn again as well, and what cannot be read is said."""

from pathlib import Path

import pytest

from models.evaluate.__main__ import EvaluationError, recorded
from models.metrics_file import METRICS

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
