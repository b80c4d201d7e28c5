"""`POST /diffusers/{model}/encode`: what `remote_encode` of diffusers sends. A picture file or a tensor in, latents out."""

from functools import partial
from typing import Literal

from service.diffusers_remote.answers import tensor_answer
from service.diffusers_remote.opening import Autoencoder, opened
from service.diffusers_remote.query import Query, UnusableQuery
from service.diffusers_remote.scaling import stated_scaling
from service.diffusers_remote.tensors import Floats, FloatType, read_tensor
from service.formats.errors import Unusable
from service.http.call import Answer, Call
from service.latents.noise import MAX_SEED
from service.operations.encode import draw_from_posterior
from service.operations.service import Service

# What the client knows, and four more, which can be written into the address of the endpoint: ?mode=sample&seed=7.
KNOWN = ("shape", "dtype", "scaling_factor", "shift_factor", "do_scaling", "mode", "seed", "timeout_ms")
Mode = Literal["mean", "sample"]
A_PICTURE = "(N, {channels}, H, W) with values from -1 to 1"


async def encode(service: Service, call: Call) -> Answer:
    """Encode pictures to latents: the means of their posteriors, or draws from them with a seed."""
    query = Query(call.query, KNOWN)
    dtype: FloatType = query.word("dtype", FloatType, "float32")
    mode: Mode = query.word("mode", Mode, "mean")
    seed = query.whole("seed", 0, MAX_SEED)
    if seed is not None and mode == "mean":
        raise UnusableQuery("seed is for mode=sample; the mean is always the same")
    inference, model = opened(service, call, query)
    scaling = stated_scaling(query, model.scaling)
    offload, pipeline = service.pipeline.offload, service.pipeline
    if "shape" in query:
        shape = query.shape("the pictures")
        x = await offload(len(call.body), partial(_pictures, call.body, shape, dtype, model))
        mu, sigma = await model.encode(pipeline, inference, x)  # (N, C, h, w)
    else:
        mu, sigma = await model.encode_file(pipeline, inference, call.body)
    headers = {}
    if mode == "sample":
        seed, mu = await offload()
        headers["x-seed"] = str(seed)
    return await offload(mu.nbytes, lambda: tensor_answer(scaling.applied(mu), dtype, inference, headers))


def _pictures(body: bytes, shape: tuple[int, ...], dtype: FloatType, model: Autoencoder) -> Floats:
    """Return pictures (N, C, H, W). Raises Undecodable, Unusable."""
    if len(shape) != 4 or shape[1] != model.channels:
        form = f"(N, {model.channels}, H, W)"
        hint = "; a video has to be sent as its pictures" if len(shape) == 5 else "; add the first dimension with unsqueeze(0)" if len(shape) == 3 else ""
        raise Unusable(f"the tensors that this model encodes have the shape {form}, not {list(shape)}{hint}")
    return read_tensor(body, shape, dtype)
