"""One piece of work: the model that does it, and how. Knows nothing of stores, operations or HTTP."""

from dataclasses import dataclass, field, replace
from functools import lru_cache

from models.ink import Invert
from models.preprocess import Preprocessing
from models.transparency import AnyBackground
from service.inference.picture_warnings import Warnings
from service.inference.served_model import ServedModel
from service.inference.stepping import GREEDY, Stepping
from service.timings import Timings


@dataclass(slots=True)
class Inference:
    """One piece of work: the model that does it, its deadline in the time of `time.monotonic`, and how long its rows took.

    `background` and `invert` override the preprocessing of the model. `warnings` are about the items encoded last, and
    `stepping` is for sequences. `label` is what a conditional model is told: one value for all items, or one for each.
    `any_size` allows pictures of another size than the model's, if its net takes them; their size is then `size`, (H, W),
    and None stands for the model's own.
    """

    model: ServedModel
    deadline: float | None = None
    timings: Timings = field(default_factory=Timings)
    background: AnyBackground | None = None
    invert: Invert | None = None
    warnings: Warnings = field(default_factory=Warnings)
    stepping: Stepping = GREEDY
    label: tuple[str, ...] | None = None
    any_size: bool = False
    size: tuple[int, int] | None = None

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the pictures of this work."""
        return self.model.shape if self.size is None else (*self.size, self.model.shape[2])

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the model, or that which the caller wants instead."""
        spec: Preprocessing = self.model.manifest.preprocessing
        if self.background is None and self.invert is None:
            return spec
        return _overridden(spec, self.background, self.invert)


@lru_cache(maxsize=1000)
def _overridden(spec: Preprocessing, background: AnyBackground | None, invert: Invert | None) -> Preprocessing:
    return replace(spec, background=background or spec.background, invert=invert or spec.invert)
