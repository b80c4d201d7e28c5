"""Checkpoints in the layout of diffusers: a folder with config.json and diffusion_pytorch_model.safetensors.

Of the classes of diffusers only AutoencoderKL is read, which `models.nets.autoencoder_kl` builds. Never pickle. Knows nothing
of training or HTTP.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch

from models.checkpoint_error import CheckpointError
from models.diffusers_weights import PREFIX, RECORD, SIGMA, WEIGHTS
from models.files.atomic_file import make_directory, write_together
from models.files.tensor_file import to_bytes
from models.spatial_latents import ARCH, read_options
from models.vae import VAE, VAEConfig

CLASS = "AutoencoderKL"
# The file of a whole pipeline, of which the VAE is one folder.
PIPELINE = "model_index.json"
# Keys that may be null, which means the same as leaving them out.
_MAY_BE_NULL = ("shift_factor", "latents_mean", "latents_std")
_MAX_DEFAULT_SIDE = 65_535


class ExtraMissing(CheckpointError):
    """The checkpoint can be served once the packages of an extra are installed."""


def is_diffusers(config: object) -> bool:
    """Return whether the content of a config.json is that of a class of diffusers."""
    return isinstance(config, dict) and "_class_name" in config


def check_class(file: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if the config.json of diffusers is that of another class."""
    name = config["_class_name"]
    if name != CLASS:
        raise CheckpointError(
            f"{file}: it is for the class {short_repr(name)} of diffusers; of its classes, only {CLASS} can be served"
        )


def check_numbers(file: Path, content: bytes) -> None:
    """Raise CheckpointError if a number of a config.json, which is an object, is NaN or infinite."""
    for key, value in json.loads(content).items():
        if any(isinstance(one, float) and not math.isfinite(one) for one in (value if isinstance(value, list) else [value])):
            raise CheckpointError(f"{file}: {key[:100]} is NaN or infinite; numbers must be finite")


def pipelines_in(directory: Path) -> list[str]:
    """Return what to do with each whole pipeline in the models' directory, which is no checkpoint."""
    return [_of_pipeline(path.parent) for path in sorted(directory.glob(f"*/{PIPELINE}"))]


def check_is_no_pipeline(directory: Path) -> None:
    """Raise CheckpointError if a directory is a whole pipeline."""
    if (directory / PIPELINE).exists():
        raise CheckpointError(_of_pipeline(directory))


def _of_pipeline(directory: Path) -> str:
    return (
        f"{directory}: is a whole pipeline of diffusers (it has {PIPELINE}), of which only the VAE is served: put its folder "
        f"{directory / 'vae'} into the models' directory, under the name that the model shall have"
    )


def model_config(config: Mapping[str, Any], sigma: float) -> VAEConfig:
    """Return the configuration of the VAE for the content of a config.json of diffusers. Raises ValueError."""
    options = {key: value for key, value in config.items() if not key.startswith("_")}
    for key in [key for key, value in options.items() if value is None]:
        if key not in _MAY_BE_NULL:
            raise ValueError(f"{key[:100]} is null; give it a value, or leave it out for the default of diffusers")
        del options[key]
    channels, out = options.pop("in_channels", 3), options.pop("out_channels", 3)
    if channels != out:
        raise ValueError(f"in_channels {short_repr(channels)} and out_channels {short_repr(out)} must be the same")
    if type(channels) is not int or channels not in (1, 3):
        raise ValueError(f"in_channels must be 1 or 3, grey or colour, not {short_repr(channels)}")
    side = options.get("sample_size", 32)
    height, width = side if isinstance(side, (list, tuple)) and len(side) == 2 else (side, side)
    if not all(type(n) is int and 0 < n <= _MAX_DEFAULT_SIDE for n in (height, width)):
        raise ValueError(f"sample_size must be a positive integer or two, up to {_MAX_DEFAULT_SIDE}, not {short_repr(side)}")
    latents = read_options(options)
    height, width = latents.own_size(height, width)
    shape = latents.shape(height, width)
    likelihood = {"sigma": sigma, "link": "identity"}
    return VAEConfig((channels, height, width), max(1, shape[0] * shape[1] * shape[2]), ARCH, options, "gaussian", likelihood)


def check_installed(directory: Path) -> None:
    """Raise ExtraMissing if diffusers is not installed."""
    if find_spec("diffusers") is None:
        raise ExtraMissing(
            f"{directory} is an {CLASS} in the layout of diffusers, and the packages of the extra 'diffusers' are not "
            "installed: pip install 'vae-service[diffusers]'"
        )


def digest_of(config: bytes, weights: bytes) -> str:
    """Return the digest of a checkpoint: SHA-256, hexadecimal, over config.json followed by the weights."""
    return hashlib.sha256(config + weights).hexdigest()


def check_storable(config: VAEConfig) -> None:
    """Raise ValueError for a model that the layout of diffusers cannot hold."""
    if config.arch != ARCH:
        raise ValueError(f"the layout of diffusers is for the net {ARCH}, not for {config.arch}")
    if config.likelihood != "gaussian" or config.likelihood_options.get("link") != "identity":
        raise ValueError("the layout of diffusers is for a gaussian likelihood with the link 'identity'")


def save_diffusers(path: str | Path, vae: VAE, data: Mapping[str, Any] | None = None) -> None:
    """Write a VAE with the net AutoencoderKL as diffusers does, for its `from_pretrained` and for the service.

    `data`: the record of its training, as in a `Manifest`. Raises ValueError for another net or a likelihood that the layout
    cannot hold, OSError.
    """
    config = vae.config
    check_storable(config)
    channels, height, width = config.shape
    sizes = {"in_channels": channels, "out_channels": channels, "sample_size": height if height == width else [height, width]}
    stored = {
        "_class_name": CLASS,
        "_diffusers_version": version("diffusers"),
        **dict(sorted({**config.arch_options, **sizes}.items())),
    }
    weights = {name.removeprefix(PREFIX): t for name, t in vae.state_dict().items() if name.startswith(PREFIX)}
    sigma = float(vae.eval().likelihood(torch.zeros(1)).sigma)
    directory = Path(path)
    make_directory(directory)
    write_together(
        {
            directory / WEIGHTS: to_bytes(weights, {"format": "pt", SIGMA: repr(sigma), RECORD: json.dumps(dict(data or {}))}),
            directory / "config.json": (json.dumps(stored, indent=2) + "\n").encode(),
        }
    )
