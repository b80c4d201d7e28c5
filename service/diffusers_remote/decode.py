"""`POST /diffusers/{model}/decode`: what `remote_decode` of diffusers sends. Latents in, pictures out."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from models.spatial_latents import SpatialLatents
from service.diffusers_remote.answers import TENSOR, file_answer, tensor_answer
from service.diffusers_remote.opening import opened
from service.diffusers_remote.packed import unpacked
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.diffusers_remote.rendered import ImageFormat, as_file, check_file, denormalised, unprocessed
from service.diffusers_remote.scaling import Scaling, stated_scaling
from service.diffusers_remote.tensors import TYPE_HINTS, Floats, FloatType, RawTensor, check_finite
from service.formats.errors import Unusable
from service.formats.pictures import to_uint8
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations import shaped
from service.operations.service import Service

OutputType = Literal["pil", "pt"]
KNOWN = (
    *("shape", "dtype", "output_type", "partial_postprocess", "image_format"),
    *("scaling_factor", "shift_factor", "do_scaling", "height", "width", "timeout_ms"),
)
NO_VIDEO = "the models here decode pictures, not videos"


@dataclass(frozen=True, slots=True)
class DecodedForm:
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
    query = ClientQuery(call.query, KNOWN)
    inference, latents = opened(service, call, query)
    form = _form(query, call.headers.get("accept", ""))
    sent = RawTensor(call.body, query.shape("the latents"), form.dtype)
    sides = query.whole("height"), query.whole("width")
    scaling = stated_scaling(query, latents)
    if form.is_file and sent.shape[0] > 1:
        raise UnusableQuery(
            f"a picture file has one picture, but the tensor has {sent.shape[0]} latents; send them one by one, or ask for "
            "tensors: output_type='pt', with partial_postprocess=True for bytes"
        )
    pipeline = service.pipeline
    z = await pipeline.offload(len(call.body), partial(_latents, sent, sides, scaling, latents))
    if form.is_file:
        check_file(latents.size_of(z.shape[1:]), form.image_format)
    decoded = await shaped.decode(pipeline, inference, z)  # (N, H, W, C)
    return await pipeline.offload(decoded.nbytes, partial(_answer, decoded, form, inference))


def _form(query: ClientQuery, accept: str) -> DecodedForm:
    output: OutputType = query.word("output_type", OutputType, "pil", {"mp4": NO_VIDEO})
    return DecodedForm(
        output,
        query.flag("partial_postprocess") or False,
        TENSOR in accept.lower(),
        query.word("image_format", ImageFormat, "jpg"),
        query.word("dtype", FloatType, "float32", TYPE_HINTS),
    )


def _latents(sent: RawTensor, sides: tuple[int | None, int | None], scaling: Scaling, latents: SpatialLatents) -> Floats:
    """Return latents (N, C, h, w) as the decoder takes them. Raises Undecodable, Unusable."""
    dims = len(sent.shape)
    height, width = sides
    if dims == 5:
        raise Unusable(f"latents of five dimensions, {list(sent.shape)}, are those of a video; {NO_VIDEO}")
    if dims == 3 and (height is None or width is None):
        raise Unusable("packed latents, of three dimensions, need the height and the width of the pictures in pixels")
    numbers = sent.numbers()
    if dims == 3 and height is not None and width is not None:
        numbers = unpacked(numbers, height, width, latents.factor)
    if numbers.ndim != 4 or numbers.shape[1] != latents.channels:
        raise Unusable(f"the latents of this model have the shape (N, {latents.channels}, h, w), not {list(numbers.shape)}")
    return scaling.removed(numbers)


def _answer(decoded: Floats, form: DecodedForm, inference: Inference) -> Answer:
    check_finite(decoded, "what the decoder makes of these latents")
    if form.is_file:
        return file_answer(as_file(to_uint8(decoded)[0], form.image_format), form.image_format, inference)
    if form.output == "pil":
        return tensor_answer(denormalised(decoded), form.dtype, inference)
    if form.as_bytes:
        return tensor_answer(to_uint8(decoded), None, inference)
    return tensor_answer(unprocessed(decoded), form.dtype, inference)
