"""How the latents that pipelines of diffusers work with differ from those of the model. Knows nothing of requests or models.

Diffusion models work with latents of about unit variance, so pipelines encode to (z - shift) * scale. Whoever decodes undoes
that, or has undone it already.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spatial_latents import SMALLEST, SpatialLatents
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.diffusers_remote.tensors import Floats, check_finite


@dataclass(frozen=True, slots=True)
class Scaling:
    """Latents (N, C, h, w) travel as (z - shift) * scale. Both have one number for all channels, or one for each."""

    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)

    def removed(self, sent: Floats) -> Floats:
        """Return latents as the decoder takes them. Raises Unusable if they are too large for float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = sent if self.scale == (1,) else sent / _of_channels(self.scale)
            z = z if self.shift == (0,) else z + _of_channels(self.shift)
        check_finite(z, "the latents, divided by the scaling factor and shifted,")
        return z

    def applied(self, z: Floats) -> Floats:
        """Return latents of the encoder as they travel. Those that are too large for float32 are infinite."""
        with np.errstate(over="ignore"):
            sent = z if self.shift == (0,) else z - _of_channels(self.shift)
            return sent if self.scale == (1,) else sent * _of_channels(self.scale)


def stated_scaling(query: ClientQuery, latents: SpatialLatents) -> Scaling:
    """Return the scaling that a request asks for: by default none. Raises UnusableQuery.

    Requests with the deprecated `do_scaling` get that in the configuration of the model, but factors that they state win.
    """
    asked = query.flag("do_scaling")
    scale, shift = query.number("scaling_factor"), query.number("shift_factor")
    if asked is False and (scale is not None or shift is not None):
        raise UnusableQuery("do_scaling=false asks for no scaling, but scaling_factor or shift_factor is given; leave one out")
    if scale is not None and abs(scale) < SMALLEST:
        raise UnusableQuery(f"scaling_factor must not be nearer to 0 than {SMALLEST:g}; for no scaling, leave it out")
    default = _own(latents) if asked and scale is None else Scaling()
    return Scaling(default.scale if scale is None else (scale,), default.shift if shift is None else (shift,))


def _own(latents: SpatialLatents) -> Scaling:
    if latents.mean is None or latents.std is None:
        return Scaling((latents.scaling_factor,), (latents.shift_factor or 0.0,))
    return Scaling(tuple(latents.scaling_factor / std for std in latents.std), latents.mean)


def _of_channels(numbers: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)[:, None, None]
