"""Pictures of any size, and latents with a shape, (C, h, w): models with the net AutoencoderKL.

The model's own size has lanes as every model of pictures. Other sizes get lanes when they are needed, and pictures above a
size are computed in tiles. Knows nothing of HTTP or of files.
"""

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, Manifest
from models.distributions import Likelihood
from models.spatial_latents import SpatialLatents, spatial_latents
from models.vae import LOGVAR_MAX, LOGVAR_MIN, VAE
from service.engine.device import Device
from service.engine.errors import Overloaded
from service.engine.lane import Lane
from service.formats.decoder_processes.malloc import keep_free_memory
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.kinds import picture_encoding
from service.inference.kinds.any_size import decode_any_size
from service.inference.kinds.pictures import ServedPictures, decoder, with_examples
from service.inference.kinds.served_kind import Floats, encoder
from service.inference.kinds.size_limits import SizeLimits
from service.inference.kinds.sized_lanes import SizedLanes
from service.inference.kinds.tiles import Tiling

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

log = logging.getLogger(__name__)


class ServedAutoencoderKL(ServedPictures):
    """A model of pictures whose net takes any size that is a multiple of its factor.

    Posteriors and latents are flattened, (N, 3, D) and (N, D), where D depends on `Inference.size`.
    """

    optimises = False
    default_scores = ("reconstruction",)
    spatial: SpatialLatents

    def __init__(
        self, manifest: Manifest, lanes: dict[str, Lane], likelihood: Likelihood, sizes: SizeLimits, sized: SizedLanes
    ) -> None:
        super().__init__(manifest, lanes, likelihood)
        self.spatial, self.sizes, self.sized = sizes.spatial, sizes, sized
        sized.tell_of = lambda name, lane: self.tell_of(name, lane)
        self._pixels = 0  # of the pictures that are being computed, or wait for it

    @classmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedAutoencoderKL":
        config = checkpoint.manifest.model
        spatial = spatial_latents(config)
        if spatial is None:
            raise RuntimeError(f"the latents of {config.arch} have no shape")
        _, height, width = config.shape
        sizes = SizeLimits(spatial)
        if height * width > sizes.picture:
            raise RuntimeError(
                f"its own size, {height} x {width}, has {height * width} pixels, but its pictures can have at most "
                f"{sizes.picture}: train it with smaller ones"
            )
        if (stated := config.arch_options.get("sample_size")) not in (None, height, [height, width]):
            log.info("%s: its own size is %d x %d pixels, less than its sample_size, %s", name, height, width, stated)
        keep_free_memory()
        limits = sizes.of_queue(height, width, device)
        work = partial(with_examples, checkpoint, device.torch_device, limits.max_batch)
        vae, latents, floats, likelihood = await device.aside(work)
        bytes_ = np.rint(floats * 255).astype(np.uint8)
        for layer in [module for module in vae.net.modules() if not any(module.children())]:
            layer.register_forward_hook(lambda *_: device.beat())  # a batch of large pictures takes long on a CPU
        make = partial(device.lanes, only_torch=True, limits=limits, finite=True)
        made = await make(encoder(vae), bytes_, floats, name=f"{name} encode")
        try:
            made += await make(decoder(vae), latents, name=f"{name} decode")
        except BaseException:
            device.forget(made)
            raise
        sized = SizedLanes(name, {"encode": any_encoder(vae), "decode": any_decoder(vae)}, sizes, device)
        lanes = dict(zip(("encode", "encode_float", "decode"), made, strict=True))
        return cls(checkpoint.manifest, lanes, likelihood, sizes, sized)

    @property
    def all_lanes(self) -> Mapping[str, Lane]:
        return {**self.lanes, **self.sized.lanes}

    def end(self, device: Device) -> None:
        self.sized.close()
        super().end(device)

    def latent_shape(self, size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """Return the shape of the latent of a picture of a size (H, W), or of the model's own size: (C, h, w)."""
        return self.spatial.shape(*(size or self.shape[:2]))

    def encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        if not inference.any_size:
            if items.rows is not None and items.rows.shape[2:] != self.shape[:2]:
                height, width, _ = self.shape
                raise Unusable(
                    f"the pictures have {items.rows.shape[2]} x {items.rows.shape[3]} pixels (height x width), and here the "
                    f"model takes {height} x {width} only; resize them"
                )
            return picture_encoding.encode(pipeline, items, inference, originals)
        return self._encode_any(pipeline, items, inference, originals)

    async def _encode_any(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None
    ) -> Floats:
        with self._admission() as admit:
            if items.rows is None:
                rows: NDArray[Any] = await decode_any_size(
                    pipeline, items, inference, self.spatial.factor, (self.sizes.picture, self.sizes.request), admit
                )
            else:
                rows = picture_encoding.inked(items.rows, inference.preprocessing)
            height, width = rows.shape[2:]
            self.sizes.check(height, width, len(rows))
            if items.rows is not None:
                admit(len(rows) * height * width)
            if originals is not None:
                originals.append(rows)
            inference.size = None if (height, width) == self.shape[:2] else (height, width)
            if inference.size is None:
                if items.rows is None:
                    return await picture_encoding.encode_pixels(pipeline, rows, inference)
                return await picture_encoding.encode(pipeline, items, inference)
            if items.rows is not None:
                for item, pixels in enumerate(rows):
                    inference.warnings.add_blank(pixels, item)
            if rows.dtype == np.uint8:
                rows = await pipeline.offload(4 * rows.size, partial(np.divide, rows, 255, dtype=np.float32))
            if self.sizes.is_whole(height, width):
                async with self.sized.lane("encode", rows.shape[1:], (height, width), inference.deadline) as lane:
                    return await pipeline.through(lane, rows, inference)
            return await self._encode_tiles(pipeline, rows, inference)

    async def _encode_tiles(self, pipeline: "Pipeline", rows: Floats, inference: "Inference") -> Floats:
        """Return the posteriors of pictures that are too large to be encoded whole: mu and logvar are blended."""
        channels, height, width = rows.shape[1:]
        grid = self.sizes.tiling(height, width)
        tile = grid.tile[0] * self.spatial.factor, grid.tile[1] * self.spatial.factor
        pixels = Tiling(tile, *(tuple(self.spatial.factor * n for n in starts) for starts in (grid.tops, grid.lefts)))
        found = np.empty((len(rows), 3, int(np.prod(self.latent_shape((height, width))))), np.float32)
        async with self.sized.lane("encode", (channels, *tile), tile, inference.deadline) as lane:
            for i, picture in enumerate(rows):
                posteriors = await _in_slices(pipeline, lane, pixels.cut(picture), inference)
                blend = partial(self._blended, grid, posteriors)
                found[i] = await pipeline.offload(posteriors.nbytes, blend)
        return found

    def _blended(self, grid: Tiling, posteriors: Floats) -> Floats:
        """Return the posterior, (3, D), whose tiles are given, (tiles, 3, D')."""
        shaped = posteriors.reshape(len(grid), 3, self.spatial.channels, *grid.tile)
        last = shaped.transpose(0, 1, 3, 4, 2)  # (tiles, 3, h, w, C)
        mu, logvar = (grid.blend(last[:, i]).transpose(2, 0, 1) for i in (0, 2))
        return np.stack([mu, np.exp(logvar / 2), logvar]).reshape(3, -1)

    @contextmanager
    def _admission(self) -> Iterator[Callable[[int], None]]:
        """Count the pixels of a request, also while its pictures are decoded, until it ends. Yields what admits pixels.

        That raises Overloaded; a request that is alone is always admitted.
        """
        own = 0

        def admit(pixels: int) -> None:
            nonlocal own
            if self._pixels > own and self._pixels + pixels > self.sizes.waiting:
                raise Overloaded(1.0, f"pictures with {self._pixels} pixels are waiting; they should be done")
            self._pixels, own = self._pixels + pixels, own + pixels

        try:
            yield admit
        finally:
            self._pixels -= own

    async def decode(self, pipeline: "Pipeline", z: Floats, inference: "Inference") -> Floats:
        height, width = inference.size or self.shape[:2]
        self.sizes.check(height, width, len(z))
        with self._admission() as admit:
            admit(len(z) * height * width)
            if inference.size is None:
                return await super().decode(pipeline, z, inference)
            shaped = z.reshape(len(z), *self.latent_shape(inference.size))
            if self.sizes.is_whole(height, width):
                async with self.sized.lane("decode", shaped.shape[1:], (height, width), inference.deadline) as lane:
                    return await pipeline.through(lane, shaped, inference)
            return await self._decode_tiles(pipeline, shaped, inference)

    async def _decode_tiles(self, pipeline: "Pipeline", z: Floats, inference: "Inference") -> Floats:
        """Decode latents (N, C, h, w) of pictures that are too large to be decoded whole."""
        height, width = inference.size or self.shape[:2]
        grid, factor = self.sizes.tiling(height, width), self.spatial.factor
        shape, tile = (self.spatial.channels, *grid.tile), (grid.tile[0] * factor, grid.tile[1] * factor)
        found = np.empty((len(z), height, width, self.shape[2]), np.float32)
        async with self.sized.lane("decode", shape, tile, inference.deadline) as lane:
            for i, latent in enumerate(z):
                tiles = await _in_slices(pipeline, lane, grid.cut(latent), inference)
                found[i] = await pipeline.offload(tiles.nbytes, partial(grid.blend, tiles, factor))
        return found


async def _in_slices(pipeline: "Pipeline", lane: Lane, tiles: Floats, inference: "Inference") -> Floats:
    """Send the tiles of one picture through a lane, which may take fewer rows at a time. Raises BatcherError."""
    slices = [tiles[first : first + lane.max_rows] for first in range(0, len(tiles), lane.max_rows)]
    return np.concatenate([await pipeline.through(lane, rows, inference) for rows in slices])


def any_encoder(vae: VAE) -> Any:
    """Return the function from pictures of any size to posteriors: (B, C, H, W) -> (B, 3, D): mu, sigma, logvar."""
    net: Any = vae.net

    def encode(x: Tensor) -> Tensor:
        mu, logvar = (part.float().flatten(1) for part in net.encode_any(x))
        logvar = logvar.clamp(LOGVAR_MIN, LOGVAR_MAX)
        return torch.stack([mu, torch.exp(0.5 * logvar), logvar], dim=1)

    return encode


def any_decoder(vae: VAE) -> Any:
    """Return the function from latents of any size to means of pixels: (B, c, h, w) -> (B, H, W, C)."""
    net: Any = vae.net

    def decode(z: Tensor) -> Tensor:
        picture: Tensor = net.decode_any(z).float()
        mean: Tensor = vae.likelihood(picture).mean
        return mean.permute(0, 2, 3, 1).contiguous()

    return decode
