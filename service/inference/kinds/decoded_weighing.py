"""How likely rows are, by what the decoder makes of latents: for kinds whose decoder answers all of p(x given z) at once.

Knows nothing of HTTP.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.scores import Array
from service.inference.kinds.served_kind import Decode, Floats, ServedKind

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline


class Compares(Protocol):
    """A kind that compares rows with what is decoded."""

    def at_mu(self, wanted: Collection[str], x: NDArray[Any], decoded: Floats) -> dict[str, Array]:
        """Return those of the wanted scores that compare rows x (N, ...) with what is decoded at mu: name -> (N,)."""

    def log_likelihood(self, x: NDArray[Any], decoded: Floats) -> Array:
        """Return log p(x given z) in nats of one row x, for each of some decoded latents: (k,)."""


class DecodedWeighing:
    """A `Weighing` by what is decoded."""

    def __init__(self, kind: Compares, pipeline: "Pipeline", decode: Decode) -> None:
        """Take a function that decodes the latents that were admitted."""
        self._kind, self._pipeline, self._decode = kind, pipeline, decode

    async def at_mu(self, wanted: Collection[str], x: NDArray[Any], mu: Floats) -> dict[str, Array]:
        decoded = await self._decode(mu)
        return await self._pipeline.offload(2 * x.size, partial(self._kind.at_mu, wanted, x, decoded))

    async def log_likelihood(self, x: NDArray[Any], z: Floats) -> Array:
        decoded = await self._decode(z.reshape(-1, z.shape[2]))
        return await self._pipeline.offload(4 * decoded.nbytes, partial(self._weigh, x, decoded, z.shape[1]))

    def _weigh(self, x: NDArray[Any], decoded: Floats, draws: int) -> Array:
        found = np.empty((len(x), draws))
        for i in range(len(x)):  # One item at a time, so that no other one changes its last bits.
            found[i] = self._kind.log_likelihood(x[i], decoded[i * draws : (i + 1) * draws])
        return found


class ServedAtOnce(ServedKind):
    """A kind whose decoder answers all of p(x given z) at once."""

    @contextmanager
    def weighing(self, pipeline: "Pipeline", inference: "Inference", count: int) -> Iterator[DecodedWeighing]:
        with self.decoding(inference, count) as decode:
            yield DecodedWeighing(self, pipeline, decode)  # type: ignore[arg-type]
