"""What a model says of its inputs and outputs. Knows nothing of requests."""

from dataclasses import dataclass
from typing import Any

from service.open_inference.datatypes import CONFIG_NAMES

ANY = -1  # a size that varies


@dataclass(frozen=True, slots=True)
class Spec:
    """An input or an output: the first size of its shape counts items. `optional`: requests may leave it out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    def metadata(self) -> dict[str, Any]:
        """Return the entry of the model's metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}

    def config(self) -> dict[str, Any]:
        """Return the entry of the model's configuration, in which the first size is left out."""
        found: dict[str, Any] = {"name": self.name, "data_type": CONFIG_NAMES[self.datatype], "dims": self.shape[1:] or (1,)}
        if len(self.shape) == 1:  # A configuration has at least one size.
            found["reshape"] = {"shape": []}
        return found
