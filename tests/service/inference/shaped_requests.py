"""Pictures and latents for a model of diffusers, and what it makes of them."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.kinds.autoencoder_kl import ServedAutoencoderKL
from service.inference.pipeline import Pipeline
from service.operations import shaped
from tests.autoencoders import CHANNELS

Floats = NDArray[np.float32]


def inference(pipeline: Pipeline, deadline: float | None = None) -> Inference:
    return Inference(pipeline.catalog.get(None), deadline)


def kind_of(pipeline: Pipeline) -> ServedAutoencoderKL:
    kind = pipeline.catalog.get(None).kind
    assert isinstance(kind, ServedAutoencoderKL)
    return kind


def noise(*shape: int) -> Floats:
    return np.random.default_rng(0).random(shape, np.float32)


def latents(count: int, height: int, width: int) -> Floats:
    return np.random.default_rng(1).normal(size=(count, CHANNELS, height, width)).astype(np.float32)


def png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


async def encode(pipeline: Pipeline, x: NDArray[Any]) -> shaped.ShapedPosteriors:
    return await shaped.encode(pipeline, inference(pipeline), RawItems(rows=x))


async def decode(pipeline: Pipeline, z: Floats) -> Floats:
    return await shaped.decode(pipeline, inference(pipeline), z)
