"""Pictures -> a file of their quantised latents, and back. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.errors import TooLarge
from service.formats.compressed_latents import SEND, CompressedLatents, from_bytes, read_header
from service.formats.errors import Undecodable
from service.formats.latent_rows import MAX_LATENT
from service.formats.raw_items import RawItems
from service.inference.catalog import Catalog
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats, ServedModel
from service.latents.quantization import dequantize, precision, quantize, scales, widths

# Coding a number takes as long as parsing so many bytes does.
BYTES_PER_NUMBER = 32


class OtherModel(Exception):
    """Compressed latents of a model that is not the one asked for, or that is not loaded."""

    def __init__(self, digest: str, stated: ServedModel | None) -> None:
        asked = f"the model asked for is {stated.label}" if stated else "no such model is loaded"
        instead = "name that model, or leave out model=" if stated else "load that model"
        super().__init__(
            f"the latents are of the model sha256:{digest}, but {asked}; {instead}, or make the file again with another model"
        )


@dataclass(frozen=True, slots=True)
class Decompressed:
    """N latents of a file and what the decoder makes of them."""

    z: Floats  # (N, D)
    decoded: Floats  # (N, ...)


async def compress(
    pipeline: Pipeline, inference: Inference, pictures: RawItems, step: float = 1.0, sharpen: float = 0.25
) -> bytes:
    """Return the file of the quantised means of the posteriors; `step` is the width of the bins in sigmas.

    `sharpen`: see `service.latents.quantization.scales`. The bins depend on all pictures of the call. Raises Unusable for
    too many bins, BadInput, BatcherError.
    """
    rows = await pipeline.encode(pictures, inference)
    work = partial(_to_bytes, rows, step, sharpen, inference.model.digest)
    return await pipeline.offload(BYTES_PER_NUMBER * rows[:, 0].size, work)


def _to_bytes(rows: Floats, step: float, sharpen: float, digest: str) -> bytes:
    mean_precision = precision(rows[:, 1])
    width = widths(mean_precision, step)
    scale = scales(mean_precision, width, sharpen)
    return CompressedLatents(digest, step, scale, quantize(rows[:, 0], width)).to_bytes()


def model_of_file(catalog: Catalog, file: bytes, stated: str | None) -> ServedModel:
    """Return the model whose latents a file has. One that the request states must be it. Raises Undecodable, OtherModel."""
    digest = read_header(file).digest
    models = list(catalog.models.values()) if stated is None else [catalog.get(stated)]
    found = next((model for model in models if model.digest == digest), None)
    if found is None:
        raise OtherModel(digest, models[0] if stated is not None else None)
    return found


async def decompress(pipeline: Pipeline, inference: Inference, file: bytes, draw_seed: int | None = None) -> Decompressed:
    """Return the latents of a file of `inference.model` and their data. Raises Undecodable, BatcherError.

    Rows are admitted by the count that the file states, before anything is allocated for them.
    """
    model, header = inference.model, read_header(file)
    if header.dim != model.latent_dim:
        raise Undecodable(
            f"the file has latents of {header.dim} dimensions, those of {model.name} have {model.latent_dim}; {SEND}"
        )
    if header.count > pipeline.max_items:  # Anybody can write any number into a file: it must not count as refused rows.
        raise TooLarge(header.count, pipeline.max_items)
    with model.kind.decoding(inference, header.count) as decode:
        z = await pipeline.offload(BYTES_PER_NUMBER * header.count * header.dim + len(file), partial(_latents, file))
        decoded = await decode(z)
    decoded = await pipeline.data(decoded, inference, draw_seed)
    return Decompressed(z, decoded)


def _latents(file: bytes) -> Floats:
    latents = from_bytes(file)
    z = dequantize(latents.index, latents.scale)
    if not (np.abs(z) <= MAX_LATENT).all():
        raise Undecodable(f"the file has latents beyond {MAX_LATENT:g}, which no model has; {SEND}")
    return z
