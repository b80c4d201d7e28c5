"""How large pictures may be for a net that takes any size, which of them are computed in tiles, and how many share a batch.

Pictures are bounded by their pixels, which memory is proportional to, and by the places of their latents, since attention
takes time in proportion to the square of these. Knows nothing of lanes, requests or HTTP.
"""

from dataclasses import dataclass

from models.spatial_latents import SpatialLatents
from service.engine.device import Device, QueueLimits
from service.formats.errors import TooBig, Unusable
from service.inference.kinds.tiles import Tiling, tiling

# The largest picture, all pictures of a request, and all that wait for a model. Each pixel takes about 40 bytes.
MAX_PIXELS = 2048 * 2048
REQUEST_PIXELS, WAITING_PIXELS = 4 * MAX_PIXELS, 8 * MAX_PIXELS
# That is so for latents with up to so many numbers for each pixel; with more, the bounds are lower.
USUAL_NUMBERS = 4
# A picture with more pixels, or a latent with more places (h x w), is computed in tiles. Each side of a tile has at most TILE
# pixels and TILE_PLACES places; neighbours share a quarter of a tile.
WHOLE_PIXELS, WHOLE_PLACES = 1024 * 1024, 128 * 128
TILE, TILE_PLACES = 512, 64
# A batch has at most so many pixels, but always one picture. On the CPU larger ones are no faster, and with more rows torch
# computes in another way, whose bits small batches do not have: a lone picture would take as long as a full batch.
BATCH_PIXELS, CPU_BATCH_PIXELS, CPU_BATCH = 512 * 512, 128 * 128, 8


@dataclass(frozen=True)
class SizeLimits:
    """The limits of one model, in pixels."""

    spatial: SpatialLatents

    @property
    def weight(self) -> int:
        """How many usual pixels a pixel counts for: more than one if latents are larger than the pictures."""
        return max(1, -(-self.spatial.channels // (USUAL_NUMBERS * self.spatial.factor**2)))

    @property
    def picture(self) -> int:
        """The pixels of the largest picture."""
        return MAX_PIXELS // self.weight

    @property
    def request(self) -> int:
        """The most pixels of all pictures of a request."""
        return REQUEST_PIXELS // self.weight

    @property
    def waiting(self) -> int:
        """The most pixels of all pictures that wait for the model."""
        return WAITING_PIXELS // self.weight

    def check(self, height: int, width: int, count: int) -> None:
        """Raise Unusable or TooBig unless pictures can have this size, and a request so many of them."""
        factor = self.spatial.factor
        if not self.spatial.fits(height, width):
            raise Unusable(
                f"the pictures have {height} x {width} pixels (height x width), but each side must be a multiple of {factor}; "
                "cut or enlarge them"
            )
        if self.spatial.is_too_small(height, width):
            raise Unusable(
                f"pictures of {height} x {width} pixels (height x width) are too small for this model, whose latents have at "
                f"least {self.spatial.least_places} places; enlarge them"
            )
        for pixels, most, what in (
            (height * width, self.picture, "each"),
            (count * height * width, self.request, "all together"),
        ):
            if pixels > most:
                raise TooBig(
                    f"the pictures have {pixels} pixels {what} ({count} of {height} x {width}), at most {most} are allowed; "
                    "send smaller or fewer ones"
                )

    def is_whole(self, height: int, width: int) -> bool:
        """Return whether pictures of this size are computed whole, and not in tiles."""
        return height * width <= WHOLE_PIXELS and self._places(height, width) <= WHOLE_PLACES

    def tiling(self, height: int, width: int) -> Tiling:
        """Return the tiles of the latent of a picture of this size."""
        factor = self.spatial.factor
        side = max(1, min(TILE // factor, TILE_PLACES))
        return tiling((height // factor, width // factor), side, max(1, side // 4))

    def of_queue(self, height: int, width: int, device: Device) -> QueueLimits:
        """Return the limits of a lane for pictures of this size, which are at most those of the device."""
        on_cpu, own, pixels = device.torch_device.type == "cpu", device.limits, height * width
        most = (CPU_BATCH_PIXELS if on_cpu else BATCH_PIXELS) // self.weight
        batch, request, queue = (max(1, each // pixels) for each in (most, self.request, self.waiting))
        attention = max(1, (WHOLE_PLACES // self._places(height, width)) ** 2)
        batch = min(batch, queue, attention, own.max_batch, CPU_BATCH if on_cpu else own.max_batch)
        return QueueLimits(batch, min(queue, own.max_queue_rows), min(request, own.max_rows))

    def _places(self, height: int, width: int) -> int:
        return (height // self.spatial.factor) * (width // self.spatial.factor)
