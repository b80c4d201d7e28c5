"""The net AutoencoderKL of diffusers, whose latents have a shape (C, h, w); the only file that imports diffusers.

It takes pictures of any size whose sides are multiples of its factor. Knows nothing of files.
"""

import inspect
import warnings
from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import Any

from torch import Tensor

from models.nets.layers import MAX_WIDTH, is_whole
from models.nets.net import Net
from models.spatial_latents import WIDTHS, read_options

EXTRA = "the packages of the extra 'diffusers' are not installed: pip install 'vae-service[diffusers]'"
# Far above what anybody trains, as in `models.nets.layers`.
MAX_LAYERS_PER_BLOCK, MAX_GROUPS = 16, 1024
FLAGS = ("force_upcast", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention")
KNOWN_BLOCKS = ("DownEncoderBlock2D", "UpDecoderBlock2D")


class AutoencoderKL(Net):
    """AutoencoderKL of diffusers. The options are those of its configuration; pictures x are in [0, 1] outside of it.

    Latents of the default size, that of `shape`, are flattened, (B, D); `encode_any` and `decode_any` take any size.
    """

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, **options: Any) -> None:
        super().__init__()
        self.spatial = read_options(options)
        channels, height, width = shape
        if not self.spatial.fits(height, width):
            raise ValueError(
                f"pictures of {height} x {width} pixels do not fit: the net halves them {len(_widths(options)) - 1} times, so "
                f"each side must be a multiple of {self.spatial.factor}"
            )
        if self.spatial.is_too_small(height, width):
            raise ValueError(
                f"pictures of {height} x {width} pixels are too small: groups of one channel (see norm_num_groups) need a "
                f"latent of at least {self.spatial.least_places} places"
            )
        self._latent = self.spatial.shape(height, width)  # (C, h, w)
        _, h, w = self._latent
        if latent_dim != self.spatial.channels * h * w:
            raise ValueError(f"latents of {self._latent} have {self.spatial.channels * h * w} numbers, not {latent_dim}")
        _check(options)
        self.autoencoder: Any = _build({**options, "in_channels": channels, "out_channels": channels})

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encode_any(x)
        return mu.flatten(1), logvar.flatten(1)  # (B, D) each

    def decode(self, z: Tensor) -> Tensor:
        # In an ONNX model, unflatten would hold the number of items that the model was traced with.
        return self.decode_any(z.reshape(-1, *self._latent))

    def encode_any(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parameters of the posterior of pictures of any size: (B, C, H, W) -> mu, logvar, (B, c, h, w) each."""
        posterior = self.autoencoder.encode(2 * x - 1).latent_dist
        return posterior.mean, posterior.logvar

    def decode_any(self, z: Tensor) -> Tensor:
        """Return the means of pixels for latents of any size: (B, c, h, w) -> (B, C, H, W), about [0, 1] and not clipped."""
        picture: Tensor = self.autoencoder.decode(z).sample
        return (picture + 1) / 2


def known_options() -> frozenset[str]:
    """Return the names of the options of AutoencoderKL, in the installed version of diffusers. Raises ValueError."""
    return frozenset(inspect.signature(_class().__init__).parameters) - {"self"}


def _class() -> Any:
    try:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL as Original
    except ImportError as error:
        raise ValueError(f"{EXTRA} ({error})") from None
    return Original


def _widths(options: Mapping[str, Any]) -> Any:
    return options.get("block_out_channels", WIDTHS)


def _check(options: Mapping[str, Any]) -> None:
    """Raise ValueError for values that no net has: they could make building one take unlimited time or memory."""
    if "in_channels" in options or "out_channels" in options:
        raise ValueError("the numbers of channels are those of the shape; leave out in_channels and out_channels")
    widths = _widths(options)
    if not all(is_whole(width, MAX_WIDTH) for width in widths):
        raise ValueError(f"block_out_channels must be positive integers up to {MAX_WIDTH}, not {short_repr(widths)}")
    for name, most in (("layers_per_block", MAX_LAYERS_PER_BLOCK), ("norm_num_groups", MAX_GROUPS)):
        if name in options and not is_whole(options[name], most):
            raise ValueError(f"{name} must be an integer from 1 to {most}, not {short_repr(options[name])}")
    for name in FLAGS:
        if type(options.get(name, True)) is not bool:
            raise ValueError(f"{name} must be true or false, not {short_repr(options[name])}")
    if not isinstance(options.get("act_fn", "silu"), str):
        raise ValueError(f"act_fn must be the name of a function, such as silu, not {short_repr(options['act_fn'])}")
    for name, block in zip(("down_block_types", "up_block_types"), KNOWN_BLOCKS, strict=True):
        found = options.get(name, (block,))
        if not isinstance(found, (list, tuple)) or set(map(str, found)) != {block} or len(found) != len(widths):
            raise ValueError(f"{name} must list {block} once for each of block_out_channels, not {short_repr(found)}")
    unknown = options.keys() - known_options()
    if unknown:
        raise ValueError(f"diffusers does not know the options {', '.join(sorted(unknown))[:500]}: update it, or remove them")


def _build(options: Mapping[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations of torch inside of diffusers
            return _class()(**options)
    except Exception as error:  # its constructor raises many types for values that do not fit together
        raise ValueError(f"diffusers cannot build it: {type(error).__name__}: {str(error)[:300]}") from None
