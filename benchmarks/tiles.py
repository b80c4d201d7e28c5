"""How far large pictures that are computed in tiles are from whole ones: python -m benchmarks.tiles

Encodes and decodes three pictures of 1280 x 1280 pixels with the shipped model sprites-kl: whole, as diffusers computes them,
in the tiles of the service, and in those of diffusers. Takes some minutes and 2 GB of memory.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from service.engine.device import Device
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.raw_items import RawItems
from service.inference.catalog import Catalog
from service.inference.inference import Inference
from service.inference.kinds.size_limits import TILE, TILE_PLACES
from service.inference.pipeline import Pipeline
from service.operations import shaped

Floats = NDArray[np.float32]
WEIGHTS, NAME = Path(__file__).parent.parent / "models" / "weights", "sprites-kl"
SIDE, SPRITE = 1280, 64
LEVELS = 255


def pictures() -> Iterator[tuple[str, Floats]]:
    """Yield names and pictures (C, SIDE, SIDE) in [0, 1]."""
    sprites = load_file(WEIGHTS / NAME / "golden.safetensors")["x"].astype(np.float32)
    sprites = sprites / np.float32(LEVELS) if sprites.max() > 1 else sprites
    count = SIDE // SPRITE
    chosen = sprites[np.random.default_rng(0).integers(len(sprites), size=count * count)]
    grid = chosen.reshape(count, count, 3, SPRITE, SPRITE).transpose(2, 0, 3, 1, 4)
    yield "sprites side by side", grid.reshape(3, SIDE, SIDE)
    small = Image.fromarray((sprites[0].transpose(1, 2, 0) * LEVELS).astype(np.uint8))
    large = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float32) / LEVELS
    yield "one sprite, enlarged", large.transpose(2, 0, 1).astype(np.float32)
    along = np.linspace(0, 1, SIDE, dtype=np.float32)
    waves = 0.5 + 0.3 * np.sin(9 * along)
    yield "a gradient", np.stack(np.broadcast_arrays(along[None], along[:, None], waves[None])).astype(np.float32)


def compared(name: str, found: Any, wanted: Any, scale: float = 1) -> str:
    """Return the mean and the largest difference as text."""
    away = np.abs(np.asarray(found) - np.asarray(wanted)) * scale
    return f"{name} {away.mean():.3f}, at most {away.max():.2f}"


def own(vae: Any, x: Any, z: Any = None) -> tuple[Any, Floats]:
    """Return the means of the latents of a picture by diffusers, and what it decodes from these or from others."""
    mu = vae.encode(2 * x - 1).latent_dist.mean
    return mu, (vae.decode(mu if z is None else z).sample / 2 + 0.5).clamp(0, 1).numpy()


async def measure(pipeline: Pipeline, vae: Any) -> None:
    """Print a paragraph for each picture."""
    model = pipeline.catalog.get(NAME)
    for name, picture in pictures():
        x = torch.from_numpy(np.ascontiguousarray(picture[None]))
        mu, whole = own(vae, x)
        posteriors = await shaped.encode(pipeline, Inference(model), RawItems(rows=x.numpy()))
        tiled = (await shaped.decode(pipeline, Inference(model), mu.numpy())).transpose(0, 3, 1, 2).clip(0, 1)
        both = (await shaped.decode(pipeline, Inference(model), posteriors.mu)).transpose(0, 3, 1, 2).clip(0, 1)
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = TILE, TILE_PLACES
        theirs = own(vae, x, mu)
        vae.disable_tiling()
        print(
            f"{name}\n  latents, standard deviation {mu.std():.2f}: {compared('tiles', posteriors.mu, mu)}; "
            f"{compared('by diffusers', theirs[0], mu)}\n  decoded, in levels: {compared('tiles', tiled, whole, LEVELS)}; "
            f"{compared('by diffusers', theirs[1], whole, LEVELS)}\n  reconstruction, in levels: "
            f"{compared('whole', whole, x, LEVELS)}; {compared('tiles', both, x, LEVELS)}",
            flush=True,
        )


async def main() -> None:
    """Serve the model in this process, and measure."""
    from diffusers import AutoencoderKL

    loader: Any = AutoencoderKL
    device = Device("cpu")
    device.start()
    catalog = Catalog(device)
    await catalog.load(WEIGHTS, (NAME,), NAME)
    pipeline = Pipeline(catalog, Decoders(SIDE * SIDE))
    with torch.inference_mode():
        await measure(pipeline, loader.from_pretrained(WEIGHTS / NAME).eval())
    await pipeline.close()
    await device.close()


if __name__ == "__main__":
    asyncio.run(main())
