"""What is told of a long evaluation, by a clock that the test moves."""

import pytest

from models.evaluate.progress import followed


@pytest.mark.parametrize(("seconds", "lines"), [(0.1, []), (6.0, ["50 %, 12 s left"])])
def test_lines_without_a_terminal(seconds: float, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    def clock() -> float:
        return now

    parts = []
    for part in followed("abcd", "scores", [1, 1, 1, 1], clock):
        parts.append(part)
        now += seconds
    assert parts == list("abcd")
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "".join(f"scores: {line}\n" for line in lines)


def test_parts_are_weighed(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter((0.0, 16.0, 20.0))
    assert list(followed("ab", "scores", [16, 4], lambda: next(times))) == ["a", "b"]
    assert capsys.readouterr().err == "scores: 80 %, 4 s left\n"
