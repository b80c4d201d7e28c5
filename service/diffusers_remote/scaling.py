"""How the latents that pipelines of diffusers work with differ from those of the model. Knows nothing of requests or models.

Diffusion models work with latents of about unit variance, so pipelines encode to (z - shift) * scale. Whoever decodes undoes
that, or has undone it already.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.diffusers_remote.query import Query, UnusableQuery
from service.diffusers_remote.tensors import check_finite

Floats = NDArray[np.float32]
PARAMETERS = ("scaling_factor", "shift_factor")


@dataclass(frozen=True, slots=True)
class Scaling:
    """Latents as they travel are (z - shift) * scale."""

    scale: float = 1.0
    shift: float = 0.0

    def removed(self, sent: Floats) -> Floats:
        """Return latents as the decoder takes them. Raises Unusable if they are too large for float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = sent if self.scale == 1 else sent / np.float32(self.scale)
            z = z if self.shift == 0 else z + np.float32(self.shift)
        check_finite(z, f"the latents divided by scaling_factor ({self.scale:g}), plus shift_factor ({self.shift:g}),")
        return z

    def applied(self, z: Floats) -> Floats:
        """Return latents of the encoder as they travel. Those that are too large for float32 are infinite."""
        with np.errstate(over="ignore"):
            sent = z if self.shift == 0 else z - np.float32(self.shift)
            return sent if self.scale == 1 else sent * np.float32(self.scale)


def stated_scaling(query: Query, own: Scaling) -> Scaling:
    """Return the scaling that a request asks for: by default none.

    `own`: the scaling in the configuration of the model, for requests with the deprecated `do_scaling`. Factors that the
    request states win over it. Raises UnusableQuery.
    """
    asked = query.flag("do_scaling")
    scale, shift = query.number("scaling_factor"), query.number("shift_factor")
    if asked is False and (scale is not None or shift is not None):
        raise UnusableQuery("do_scaling=false asks for no scaling, but scaling_factor or shift_factor is given; leave one out")
    if scale is not None and np.float32(scale) == 0:
        raise UnusableQuery("scaling_factor is 0 in float32, by which latents cannot be divided; for no scaling, leave it out")
    default = own if asked and scale is None else Scaling()
    return Scaling(default.scale if scale is None else scale, default.shift if shift is None else shift)
