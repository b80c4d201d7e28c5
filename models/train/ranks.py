"""The processes of one run, which torchrun starts, and how they meet. A process on its own waits for nobody.

The first process, of rank 0, leads: it reads the command line and writes all files. Knows nothing of models or batches.
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor, distributed

from models.train.run_directory import versions
from models.train.training_error import TrainingError

# A process that does not answer for so long is given up. Lost connections are noticed at once.
STEP_TIMEOUT = timedelta(minutes=10)
# At a meeting, the others wait while the leader validates and writes files.
MEETING_TIMEOUT = timedelta(days=1)
# What Gloo says beside the reason: a line of its source before it, and general advice after it.
GLOO = re.compile(r"^\[[^]]*\.(?:cc|h):\d+\] |\. (?:This is typically caused|Original exception).*")
ALIKE = ("torch", "vae-service")  # packages that must have the same version in all processes


class LostProcess(TrainingError):
    """The connection to another process is lost, or it does not answer."""


class FailedElsewhere(TrainingError):
    """Another process could not start the run; the message says which one and why."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status  # with which that process exits


@dataclass
class Ranks:
    """This process among the `size` of a run: its rank among all, and among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    in_steps: bool = False  # whether the others may be within a step, where nobody can be told anything
    _meetings: Any = None
    _steps: Any = None

    @property
    def leads(self) -> bool:
        """Return whether this process reads the command line and writes the files."""
        return self.rank == 0

    def connect(self, device: torch.device) -> None:
        """Connect the processes for sums on the device: by NCCL on GPUs, otherwise by Gloo. Raises LostProcess."""
        if self.size > 1 and device.type == "cuda":
            with answered():
                self._steps = distributed.new_group(backend="nccl", timeout=STEP_TIMEOUT)

    def meet(self, told: Any = None) -> list[Any]:
        """Wait for all processes, and return what each one tells, by rank. Raises FailedElsewhere, LostProcess."""
        if self.size == 1:
            return [told]
        found = self._exchange(("told", told))
        for rank, (kind, what) in enumerate(found):
            if kind == "failed":
                text, status = what
                raise FailedElsewhere(f"process {rank} of {self.size}: {text}" if rank else text, status)
        return [what for _, what in found]

    def first(self, told: Any = None) -> Any:
        """Wait for all processes, and return what the leader tells. Raises FailedElsewhere, LostProcess."""
        if self.size == 1:
            return told
        self.meet()
        box = [told]
        with answered():
            distributed.broadcast_object_list(box, 0, self._meetings)
        return box[0]

    def fail(self, error: BaseException) -> None:
        """Tell the others, at the meeting for which they wait or will wait, that this process cannot go on."""
        if self.in_steps or isinstance(error, (FailedElsewhere, LostProcess)):  # Nobody can be told, or everybody knows.
            return
        text, status = str(error), 1
        if isinstance(error, KeyboardInterrupt):
            text, status = "stopped before the training began", 130
        elif isinstance(error, SystemExit):
            text, status = "ended", error.code if isinstance(error.code, int) else 1
        with suppress(LostProcess):  # Then nobody is left who could be told.
            self._exchange(("failed", (text, status)))

    def leave(self) -> None:
        """Disconnect the processes, and end the threads of Gloo.

        They end with the last reference to a group. A thread that is still releasing a tensor when the interpreter exits would
        abort the process: it asks for the interpreter's lock, which then ends the thread within a destructor.
        """
        self._meetings = self._steps = None
        distributed.destroy_process_group()

    def sum(self, values: Tensor) -> Any:
        """Begin to replace values by their sums over all processes; `.wait()` of what is returned waits for them."""
        return distributed.all_reduce(values, group=self._steps, async_op=True)

    def check_alike(self, what: str, told: Mapping[str, str], advice: str) -> None:
        """Raise TrainingError if another process tells something else than the leader. `what` describes all of it."""
        first, *others = self.meet(dict(told))
        for rank, other in enumerate(others, 1):
            if differ := [name for name in {**first, **other} if first.get(name) != other.get(name)]:
                name = differ[0]
                raise TrainingError(
                    f"{what} must be the same in all processes of a run, but {name} is {other.get(name)} in process {rank} "
                    f"and {first.get(name)} in process 0: {advice}"
                )

    def _exchange(self, message: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        with answered():
            distributed.all_gather_object(found, message, group=self._meetings)
        return found


ALONE = Ranks()


def report(reason: str) -> None:
    """Leave torchrun the reason why this process ends, which it prints at the end of its own report.

    torch.distributed.elastic.multiprocessing.errors documents the file; without torchrun there is none.
    """
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        told = {"message": {"message": reason, "extraInfo": {"timestamp": str(int(time.time()))}}}
        with suppress(OSError), open(path, "w") as file:  # The reason is printed in any case.
            json.dump(told, file)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes if torchrun started several, and tell them if this one fails before the first step.

    Raises TrainingError if the processes do not belong together.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    rank = int(os.environ["RANK"])
    ranks = Ranks(rank, size, int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    with answered():
        distributed.init_process_group("gloo", timeout=STEP_TIMEOUT)
        # The default group is not used: imported parts of torch may refer to it as long as the process lives.
        ranks._steps = distributed.new_group(backend="gloo", timeout=STEP_TIMEOUT)
        ranks._meetings = distributed.new_group(backend="gloo", timeout=MEETING_TIMEOUT)
    try:
        found = versions()
        ranks.check_alike("packages", {name: found[name] for name in ALIKE}, "install the same version everywhere")
        yield ranks
    except BaseException as error:
        if isinstance(error, LostProcess):  # torchrun sends SIGTERM to all others, before they have said what happened.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ranks.fail(error)
        clear_frames(error.__traceback__)  # They may refer to the groups.
        raise
    finally:
        ranks.leave()


@contextmanager
def answered() -> Iterator[None]:
    """Raise LostProcess if another process does not answer, or has closed the connection."""
    try:
        yield
        return
    except (RuntimeError, OSError) as error:
        reason = GLOO.sub("", str(error).splitlines()[0])
    # Not within the except block: the frames of the first error refer to the groups, see `Ranks.leave`.
    raise LostProcess(
        f"the connection to another process of the run is lost, because it ended or did not answer ({reason}); the same "
        "command with --resume goes on from the last saved state"
    )
