"""`POST /diffusers/{model}/encode`: what `remote_encode` of diffusers sends. A picture file or a tensor in, latents out."""

from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.diffusers_remote.answers import tensor_answer
from service.diffusers_remote.opening import opened
from service.diffusers_remote.picture_file import picture_pixels
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.diffusers_remote.scaling import Scaling, stated_scaling
from service.diffusers_remote.tensors import TYPE_HINTS, Floats, FloatType, RawTensor, check_finite
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.latents.noise import MAX_SEED
from service.operations import shaped
from service.operations.encode import draw_from_posterior
from service.operations.service import Service
from service.operations.shaped import ShapedPosteriors

# The client sends the first four; the others can be written into the address of the endpoint: ?mode=sample&seed=7.
KNOWN = ("shape", "dtype", "scaling_factor", "shift_factor", "do_scaling", "mode", "seed", "timeout_ms")
Mode = Literal["mean", "sample"]
# By the number of dimensions of a tensor that does not suit.
HINTS = {3: "; add the first dimension with unsqueeze(0)", 5: "; a video has to be sent as its pictures"}


async def encode(service: Service, call: Call) -> Answer:
    """Encode pictures to latents: the means of their posteriors, or draws from them with a seed."""
    query = ClientQuery(call.query, KNOWN)
    dtype: FloatType = query.word("dtype", FloatType, "float32", TYPE_HINTS)
    mode: Mode = query.word("mode", Mode, "mean")
    seed = query.whole("seed", 0, MAX_SEED)
    if seed is not None and mode == "mean":
        raise UnusableQuery("seed is for mode=sample; the mean is always the same")
    inference, latents = opened(service, call, query)
    scaling, pipeline = stated_scaling(query, latents), service.pipeline
    rows: NDArray[Any]
    if "shape" in query:
        sent = RawTensor(call.body, query.shape("the pictures"), dtype)
        rows = await pipeline.offload(len(call.body), partial(_pictures, sent, inference.model.shape[2]))
    else:
        rows = await picture_pixels(pipeline, inference, call.body, latents)
    notes = list(inference.warnings.found)  # `encode` replaces them
    posteriors = await shaped.encode(pipeline, inference, RawItems(rows=rows))
    inference.warnings.found += notes
    work = partial(_answer, posteriors, mode, seed, scaling, dtype, inference)
    return await pipeline.offload(posteriors.mu.nbytes, work)


def _pictures(sent: RawTensor, channels: int) -> Floats:
    """Return pictures (N, C, H, W) about [0, 1] of a tensor about from -1 to 1. Raises Undecodable, Unusable."""
    shape = sent.shape
    if len(shape) != 4 or shape[1] != channels:
        hint = HINTS.get(len(shape), "")
        raise Unusable(f"the tensors that this model encodes have the shape (N, {channels}, H, W), not {list(shape)}{hint}")
    return (sent.numbers() + np.float32(1)) * np.float32(0.5)


def _answer(
    posteriors: ShapedPosteriors, mode: Mode, seed: int | None, scaling: Scaling, dtype: FloatType, inference: Inference
) -> Answer:
    check_finite(posteriors.mu, "the latents of these pictures")
    z, headers = posteriors.mu, dict[str, str]()
    if mode == "sample":
        seed, drawn = draw_from_posterior(z.reshape(len(z), -1), posteriors.sigma.reshape(len(z), -1), seed)
        z, headers = drawn.reshape(z.shape), {"x-seed": str(seed)}
    return tensor_answer(scaling.applied(z), dtype, inference, headers)
