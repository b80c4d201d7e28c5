"""`POST /diffusers/{model}/decode`: what `remote_decode` of diffusers sends. Latents in, pictures out."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from service.diffusers_remote.answers import TENSOR, file_answer, tensor_answer
from service.diffusers_remote.opening import Autoencoder, opened
from service.diffusers_remote.packed import unpacked
from service.diffusers_remote.query import Query, UnusableQuery
from service.diffusers_remote.rendered import ImageFormat, picture_file, to_bytes, unit_range
from service.diffusers_remote.scaling import stated_scaling
from service.diffusers_remote.tensors import Floats, FloatType, check_finite, read_tensor
from service.formats.errors import Unusable
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations.service import Service

OutputType = Literal["pil", "pt"]
KNOWN = (
    *("shape", "dtype", "output_type", "partial_postprocess", "image_format"),
    *("scaling_factor", "shift_factor", "do_scaling", "height", "width", "timeout_ms"),
)
HINTS = {"mp4": "the models here decode pictures, not videos"}
A_FILE_IS_ONE_PICTURE = (
    "a picture file has one picture, but the tensor has {count} latents; send them one by one, or ask for tensors: "
    "output_type='pt', with partial_postprocess=True for bytes"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form of the answer."""

    output: OutputType
    as_bytes: bool  # with `pt`
    as_tensor: bool  # with `pil`
    image_format: ImageFormat
    dtype: FloatType  # of tensors of floats: that of the latents

    @property
    def is_file(self) -> bool:
        """Whether the answer is a picture file."""
        return self.output == "pil" and not self.as_tensor


async def decode(service: Service, call: Call) -> Answer:
    """Decode latents to pictures."""
    query = Query(call.query, KNOWN)
    wanted = _wanted(query, call.headers.get("accept", ""))
    inference, model = opened(service, call, query)
    shape, sides = query.shape("the latents"), (query.whole("height"), query.whole("width"))
    scaling = stated_scaling(query, model.scaling)
    if wanted.is_file and shape[0] > 1:
        raise UnusableQuery(A_FILE_IS_ONE_PICTURE.format(count=shape[0]))
    offload = service.pipeline.offload
    sent = await offload(len(call.body), partial(read_tensor, call.body, shape, wanted.dtype))
    z = await offload(sent.nbytes, lambda: scaling.removed(_latents(sent, sides, model)))
    decoded = await model.decode(service.pipeline, inference, z)  # (N, C, H, W)
    return await offload(decoded.nbytes, partial(_answer, decoded, wanted, inference))


def _wanted(query: Query, accept: str) -> Wanted:
    output: OutputType = query.word("output_type", OutputType, "pil", HINTS)
    return Wanted(
        output,
        query.flag("partial_postprocess") or False,
        TENSOR in accept,
        query.word("image_format", ImageFormat, "jpg"),
        query.word("dtype", FloatType, "float32"),
    )


def _latents(sent: Floats, sides: tuple[int | None, int | None], model: Autoencoder) -> Floats:
    """Return latents (N, C, h, w) of those that were sent, which may be packed. Raises Unusable."""
    height, width = sides
    if sent.ndim == 3 and height is not None and width is not None:
        sent = unpacked(sent, height, width, model.factor)
    elif sent.ndim == 3:
        raise Unusable("packed latents, of three dimensions, need the height and the width of the pictures in pixels")
    if sent.ndim == 5:
        raise Unusable(f"latents of five dimensions, {list(sent.shape)}, are those of a video; {HINTS['mp4']}")
    channels = model.latent_channels
    if sent.ndim != 4 or sent.shape[1] != channels:
        raise Unusable(f"the latents of this model have the shape (N, {channels}, h, w), not {list(sent.shape)}")
    return sent


def _answer(decoded: Floats, wanted: Wanted, inference: Inference) -> Answer:
    check_finite(decoded, "what the decoder makes of these latents")
    if wanted.is_file:
        file = picture_file(to_bytes(decoded)[0], wanted.image_format)
        return file_answer(file, wanted.image_format, inference)
    if wanted.output == "pil":
        return tensor_answer(unit_range(decoded), wanted.dtype, inference)
    if wanted.as_bytes:
        return tensor_answer(to_bytes(decoded), None, inference)
    return tensor_answer(decoded, wanted.dtype, inference)
