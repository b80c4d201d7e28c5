"""What the other processes of a run do: the same steps as the one that leads, and no files.

`models.train.__main__` has the training loop of the process that leads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from models.train.devices import full_memory_explained
from models.train.ranks import Ranks
from models.train.run import MAX_BAD_STEPS, Run
from models.train.stopping import interrupted, stop_on_signals


def follow(ranks: Ranks) -> int:
    """Take part in a run until it ends; return the exit status. Raises TrainingError, DataError, ResumeError."""
    with silent(), full_memory_explained():
        args = ranks.first()
        with interrupted():
            run = Run(args, ranks)
        with stop_on_signals(quiet=True) as signals:
            return _steps(run, signals)


@contextmanager
def silent() -> Iterator[None]:
    """Print nothing: the process that leads prints the same."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _steps(run: Run, signals: list[int]) -> int:
    progress = run.state.meet(run.ranks)
    run.ranks.in_steps = True
    bad_steps = 0
    run.stop_with(signals)
    while progress.step < run.steps and not progress.finished:
        epoch, position = divmod(progress.step, run.steps_per_epoch)
        for x in run.batches(epoch, position):
            bad_steps = bad_steps + 1 if run.step(x, progress.step) is None else 0
            if bad_steps >= MAX_BAD_STEPS:
                return 1  # The one that leads says why.
            progress.step += 1
            if run.stop or run.ends_epoch(progress.step):
                break
        if run.is_checked(progress.step):
            progress.finished = run.ranks.first()
        if run.stop and progress.step < run.steps:
            run.ranks.meet()  # Everything is saved.
            return 130
    run.ranks.meet()  # The one that leads ends last; Gloo may abort it if a connection is closed before.
    return 0
