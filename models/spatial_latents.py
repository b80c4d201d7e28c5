"""Latents with a shape, (C, h, w), as the nets of AutoencoderKL have them: sizes, and the scale on which others use them.

Knows nothing of torch, files or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.vae import VAEConfig

ARCH = "autoencoder_kl"
# What AutoencoderKL takes for an option that a configuration leaves out.
CHANNELS, WIDTHS, SCALING_FACTOR, GROUPS = 4, (64,), 0.18215, 32
# Above any autoencoder of pictures: 16 channels are usual, and 4 levels.
MAX_CHANNELS, MAX_LEVELS = 1024, 8
# Factors and shifts outside of these would make latents infinite or zero in float32.
SMALLEST, LARGEST = 1e-6, 1e6
# A checkpoint of others is served with an own size of at most so many pixels, places (h x w) and numbers of its latent. All
# of it is computed several times at the start, and vectors of collections have these numbers.
OWN_PIXELS, OWN_PLACES, OWN_NUMBERS = 512 * 512, 64 * 64, 1 << 20


@dataclass(frozen=True)
class SpatialLatents:
    """How the latents of a net that takes pictures of any size are made up.

    `factor`: pixels of a side of a picture for one of the latent. A latent z stands for (z - shift) * scaling in diffusion
    models, with a shift and a scaling of each channel.
    """

    channels: int
    factor: int
    scaling_factor: float
    shift_factor: float | None = None
    mean: tuple[float, ...] | None = None  # `latents_mean` of the configuration, and `latents_std`
    std: tuple[float, ...] | None = None
    least_places: int = 1  # of a latent; a norm cannot be taken of a single number

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of the latent of a picture, (C, h, w)."""
        return self.channels, height // self.factor, width // self.factor

    def size_of(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return (H, W) of the picture of a latent (C, h, w)."""
        return shape[1] * self.factor, shape[2] * self.factor

    def fits(self, height: int, width: int) -> bool:
        """Return whether the net takes pictures of this size without cutting them."""
        return min(height, width) > 0 and not height % self.factor and not width % self.factor

    def is_too_small(self, height: int, width: int) -> bool:
        """Return whether the latents of pictures of this size have too few places."""
        return (height // self.factor) * (width // self.factor) < self.least_places

    def own_size(self, height: int, width: int) -> tuple[int, int]:
        """Return a size as it is, or halved until it is small enough to be the own size of a model."""
        while (places := (height // self.factor) * (width // self.factor)) and (
            height * width > OWN_PIXELS or places > OWN_PLACES or places * self.channels > OWN_NUMBERS
        ):
            height, width = (max(self.factor, side // 2 // self.factor * self.factor) for side in (height, width))
        return height, width

    @property
    def usual(self) -> tuple[list[float], list[float]]:
        """Means and standard deviations of the channels of latents, as the configuration says they are over a data set."""
        if self.mean is not None and self.std is not None:
            return list(self.mean), [std / self.scaling_factor for std in self.std]
        return [self.shift_factor or 0.0] * self.channels, [1 / self.scaling_factor] * self.channels


def spatial_latents(config: "VAEConfig") -> SpatialLatents | None:
    """Return how the latents of a model are made up; None if they have no shape. Raises ValueError."""
    return read_options(config.arch_options) if config.arch == ARCH else None


def read_options(options: Mapping[str, Any]) -> SpatialLatents:
    """Read the options of AutoencoderKL. Raises ValueError for values that no latent can have."""
    widths, channels = options.get("block_out_channels", WIDTHS), options.get("latent_channels", CHANNELS)
    if not isinstance(widths, (list, tuple)) or not 0 < len(widths) <= MAX_LEVELS:
        raise ValueError(f"block_out_channels must be a list of 1 to {MAX_LEVELS} numbers, not {short_repr(widths)}")
    if type(channels) is not int or not 0 < channels <= MAX_CHANNELS:
        raise ValueError(f"latent_channels must be an integer from 1 to {MAX_CHANNELS}, not {short_repr(channels)}")
    scaling = _number(options.get("scaling_factor", SCALING_FACTOR), "scaling_factor")
    if scaling < SMALLEST:
        raise ValueError(f"scaling_factor must be at least {SMALLEST:g}, not {scaling:g}")
    shift = options.get("shift_factor")
    mean, std = (_each(options.get(name), name, channels) for name in ("latents_mean", "latents_std"))
    if (mean is None) != (std is None):
        raise ValueError("latents_mean and latents_std go together: give both, or none")
    if std is not None and min(std) < SMALLEST:
        raise ValueError(f"latents_std must be at least {SMALLEST:g}, not {min(std):g}")
    shift = None if shift is None else _number(shift, "shift_factor")
    least = 2 if options.get("norm_num_groups", GROUPS) in widths else 1  # Some groups have one channel then.
    return SpatialLatents(channels, 2 ** (len(widths) - 1), scaling, shift, mean, std, least)


def _each(value: object, name: str, channels: int) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != channels:
        raise ValueError(f"{name} must be a list of {channels} numbers, one for each channel, not {short_repr(value)}")
    return tuple(_number(one, name) for one in value)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} must be a number from -{LARGEST:g} to {LARGEST:g}, not {short_repr(value)}")
    return float(value)
