"""What is told of a run on its way, by a clock that the test moves."""

import pytest

from models.train.progress import Reporter, duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(reporter: Reporter, clock: Clock, steps: int, seconds: float) -> None:
    for _ in range(steps):
        clock.now += seconds
        reporter.step()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (7.6, "8 s"), (89, "89 s"), (300, "5 min"), (5399, "1 h 30 min"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_an_estimate_comes_once_after_ten_steps_without_the_slow_first(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = Reporter(1011, 100, 0, clock=clock)
    run(reporter, clock, 1, 50)
    run(reporter, clock, 9, 0.2)
    assert capsys.readouterr().out == ""
    run(reporter, clock, 5, 0.2)
    assert capsys.readouterr().out == "time: 3 min for 1000 more steps, 200 ms each, without validation\n"


def test_a_resumed_run_makes_no_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    run(Reporter(100, 10, 20, quiet=True, clock=clock), clock, 20, 0.1)
    assert capsys.readouterr().out == ""


def test_without_a_terminal_a_line_comes_every_so_often(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = Reporter(500, 100, 0, clock=clock)
    run(reporter, clock, 150, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "epoch 1 of 5: 10 of 100 steps, 2 min left in the epoch, 8 min left in the run",
        "epoch 1 of 5: 30 of 100 steps, 70 s left in the epoch, 8 min left in the run",
        "epoch 1 of 5: 70 of 100 steps, 30 s left in the epoch, 7 min left in the run",
        "epoch 2 of 5: 30 of 100 steps, 70 s left in the epoch, 6 min left in the run",
    ]


def test_the_last_epoch_may_be_short() -> None:
    clock = Clock()
    reporter = Reporter(25, 10, 0, quiet=True, clock=clock)
    run(reporter, clock, 23, 2)
    assert reporter.line() == "epoch 3 of 3: 3 of 5 steps, 4 s left in the epoch, 4 s left in the run"
