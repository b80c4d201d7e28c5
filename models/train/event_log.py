"""Write the numbers of each epoch for TensorBoard. Knows nothing of training."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class EventLog:
    """Writes into a directory for `tensorboard --logdir`; a resumed run hides entries after its saved state."""

    def __init__(self, directory: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory), purge_step=step + 1 if step else None)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write one entry of the run's log. Each number becomes a curve; a nested one has a name like `validation/elbo`."""
        for name, value in entry.items():
            for inner, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, (int, float)) and name not in ("epoch", "step"):
                    self._writer.add_scalar(f"{name}/{inner}" if inner else f"run/{name}", number, entry["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def is_installed() -> bool:
    """Return whether the extra `tensorboard` is installed."""
    return find_spec("tensorboard") is not None
