"""Checkpoints in the layout of diffusers: a folder with config.json and diffusion_pytorch_model.safetensors.

Of the classes of diffusers only AutoencoderKL is read, which `models.nets.autoencoder_kl` builds. Never pickle. Knows nothing
of training or HTTP.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models.checkpoint_error import CheckpointError
from models.files.atomic_file import make_directory, write_together
from models.files.plain_json import parse_json
from models.files.tensor_file import Header, TensorFileError, read_header, read_tensors, to_bytes
from models.spatial_latents import ARCH, read_options
from models.vae import VAE, VAEConfig

CLASS, WEIGHTS = "AutoencoderKL", "diffusion_pytorch_model.safetensors"
# Files with weights in half precision, which are served in float32 where there are no others.
HALF = "diffusion_pytorch_model.fp16.safetensors"
PICKLE = "diffusion_pytorch_model.bin"
PREFIX = "net.autoencoder."
# What diffusers neither knows nor needs is in the metadata of the weights: the pixels' sigma, and the record of training.
SIGMA, RECORD = "pixel_sigma", "training_record"
# Where nobody has measured it. It is a scale of nats, and changes neither posteriors nor pictures.
UNKNOWN_SIGMA = 0.1
# Names of the weights of attention before diffusers 0.17, and those since then.
_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_FORMER_NAME = re.compile(rf"(.*\.attentions\.\d+\.)({'|'.join(_FORMER)})(\.(?:weight|bias))")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
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


def model_config(config: Mapping[str, Any], sigma: float) -> VAEConfig:
    """Return the configuration of the VAE for the content of a config.json of diffusers. Raises ValueError."""
    options = {key: value for key, value in config.items() if not key.startswith("_") and value is not None}
    channels, out = options.pop("in_channels", 3), options.pop("out_channels", 3)
    if channels != out:
        raise ValueError(f"in_channels {short_repr(channels)} and out_channels {short_repr(out)} must be the same")
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


def weights_file(directory: Path) -> Path:
    """Return the file with the weights. Raises CheckpointError if there is none that can be read."""
    for name in (WEIGHTS, HALF):
        if (directory / name).exists():
            return directory / name
    if (directory / PICKLE).exists():
        raise CheckpointError(
            f"{directory / PICKLE}: is a pickle, which may run any code and is not read; load it with diffusers' "
            "AutoencoderKL.from_pretrained where you trust it, and write it again with save_pretrained"
        )
    raise CheckpointError(
        f"{directory / WEIGHTS}: no such file; a checkpoint of diffusers is a directory with it and config.json"
    )


def read_record(path: Path) -> tuple[float, dict[str, Any]]:
    """Return the sigma of the pixels and the record of the training that the file with the weights states.

    Files of others state neither, see UNKNOWN_SIGMA. Raises CheckpointError.
    """
    try:
        stated = read_header(path).metadata
        data = parse_json(stated.get(RECORD, "{}").encode())
        if not isinstance(data, dict):
            raise ValueError("is not an object")
        return float(stated.get(SIGMA, UNKNOWN_SIGMA)), {**data, "layout": "diffusers"}
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {SIGMA} or {RECORD} in its metadata: {str(error)[:200]}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def read_weights(path: Path, expected: VAE) -> tuple[dict[str, Tensor], bytes]:
    """Read weights for a VAE like `expected`; return its state, in float32, and the bytes of the file.

    Raises CheckpointError.
    """
    shapes = {name.removeprefix(PREFIX): tuple(tensor.shape) for name, tensor in expected.state_dict().items()}
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("likelihood.")}
    try:
        file = read_tensors(path, lambda header: _check(path, shapes, header))
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    state = {}
    for name, tensor in file.tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
        state[PREFIX + _present(name)] = tensor.float().reshape(shapes[_present(name)])
    return state, file.content


def _check(path: Path, shapes: Mapping[str, tuple[int, ...]], header: Header) -> None:
    found = {_present(name): entry for name, entry in header.tensors.items()}
    for problem, names in (
        ("missing tensors", shapes.keys() - found.keys()),
        ("unknown tensors", found.keys() - shapes.keys()),
    ):
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise CheckpointError(f"{path}: {problem}: {', '.join(sorted(names)[:10])[:1000]}{more}")
    if len(found) != len(header.tensors):
        raise CheckpointError(f"{path}: has a tensor of attention twice, by its former name and by its name")
    for name, shape in shapes.items():
        dtype, own = found[name]
        # The linear layers of attention were convolutions of one pixel once.
        if dtype not in _FLOATS or own not in (shape, (*shape, 1, 1)):
            raise CheckpointError(f"{path}: {name} is {dtype} {own}, should be floats {shape}")


def _present(name: str) -> str:
    """Return the name of a tensor since diffusers 0.17."""
    former = _FORMER_NAME.fullmatch(name)
    return f"{former[1]}{_FORMER[former[2]]}{former[3]}" if former else name


def digest_of(config: bytes, weights: bytes) -> str:
    """Return the digest of a checkpoint: SHA-256, hexadecimal, over config.json followed by the weights."""
    return hashlib.sha256(config + weights).hexdigest()


def save_diffusers(path: str | Path, vae: VAE, data: Mapping[str, Any] | None = None) -> None:
    """Write a VAE with the net AutoencoderKL as diffusers does, for its `from_pretrained` and for the service.

    `data`: the record of its training, as in a `Manifest`. Raises ValueError for another net or a likelihood that the layout
    cannot hold, OSError.
    """
    config = vae.config
    if config.arch != ARCH:
        raise ValueError(f"the layout of diffusers is for the net {ARCH}, not for {config.arch}")
    if config.likelihood != "gaussian" or config.likelihood_options.get("link") != "identity":
        raise ValueError("the layout of diffusers is for a gaussian likelihood with the link 'identity'")
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
