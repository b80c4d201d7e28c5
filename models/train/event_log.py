"""The numbers of each epoch as TensorBoard shows them. Knows nothing of how they come about."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class EventLog:
    """Writes into a directory that `tensorboard --logdir` reads; a resumed run hides what lies behind its state."""

    def __init__(self, directory: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory), purge_step=step + 1 if step else None)

    def write(self, entry: Mapping[str, Any]) -> None:
        """One entry of the run's log: each number in it is a curve over steps, `validation/elbo` a nested one."""
        for name, value in entry.items():
            for inner, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, (int, float)) and name not in ("epoch", "step"):
                    self._writer.add_scalar(f"{name}/{inner}" if inner else f"run/{name}", number, entry["step"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def is_installed() -> bool:
    """Whether the extra `tensorboard` is there."""
    return find_spec("tensorboard") is not None
