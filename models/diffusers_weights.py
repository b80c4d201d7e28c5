"""The files with the weights of a checkpoint of diffusers: one, or several (shards) with an index. Never pickle.

Knows nothing of configurations.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models.checkpoint_error import CheckpointError
from models.files.plain_json import parse_json
from models.files.regular_file import read_regular
from models.files.tensor_file import Header, TensorFileError, read_header, read_tensors
from models.vae import VAE

WEIGHTS = "diffusion_pytorch_model.safetensors"
# Weights in half precision, which are served in float32 where there are no others.
HALF = "diffusion_pytorch_model.fp16.safetensors"
# Which shard has which tensor.
INDEX, HALF_INDEX = f"{WEIGHTS}.index.json", f"{WEIGHTS}.index.fp16.json"
# A name without a directory, as diffusers gives it to a shard.
_SHARD = re.compile(r"diffusion_pytorch_model(\.fp16)?-\d{5}-of-\d{5}(\.fp16)?\.safetensors", re.ASCII)
# What is downloaded of a repository: the first of these of which it has the first file.
DOWNLOADS = (
    (WEIGHTS,),
    (HALF,),
    (INDEX, "diffusion_pytorch_model-?????-of-?????.safetensors"),
    (HALF_INDEX, "diffusion_pytorch_model.fp16-*.safetensors", "diffusion_pytorch_model-*.fp16.safetensors"),
)
MAX_INDEX_BYTES, MAX_SHARDS = 1 << 20, 100
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")
PREFIX = "net.autoencoder."
# What diffusers neither knows nor needs is in the metadata of the weights: the pixels' sigma, and the record of training.
SIGMA, RECORD = "pixel_sigma", "training_record"
# Where nobody has measured it. It is a scale of nats, and changes neither posteriors nor pictures.
UNKNOWN_SIGMA = 0.1
# Names of the weights of attention before diffusers 0.17, and those since then.
_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_FORMER_NAME = re.compile(rf"(.*\.attentions\.\d+\.)({'|'.join(_FORMER)})(\.(?:weight|bias))")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Weights:
    """The files that hold the weights. `named`: the one that messages name, which is the index if there are several."""

    named: Path
    files: tuple[Path, ...]


def has_weights(directory: Path) -> bool:
    """Return whether a directory has a file with the name of weights of diffusers."""
    return any(directory.glob("diffusion_pytorch_model*"))


def find_weights(directory: Path) -> Weights:
    """Return the files with the weights of a checkpoint. Raises CheckpointError if there are none that can be read."""
    for name in (WEIGHTS, HALF):
        if (directory / name).exists():
            return Weights(directory / name, (directory / name,))
    for name in (INDEX, HALF_INDEX):
        if (directory / name).exists():
            return Weights(directory / name, _shards(directory / name))
    pickles = sorted(path for pattern in PICKLES for path in directory.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{pickles[0]}: is a pickle, which may run any code and is not read. Write it again as safetensors: "
            "AutoencoderKL.from_pretrained('OLD', use_safetensors=False).save_pretrained('NEW') of diffusers reads the "
            "tensors and runs no code from the file"
        )
    others = ", ".join(sorted(path.name for path in directory.glob("*.safetensors"))[:5])
    raise CheckpointError(
        f"{directory / WEIGHTS}: no such file; a checkpoint of diffusers is a directory with it and config.json"
        + (f". There are other weights, {others[:300]}: rename the file that is to be served" if others else "")
    )


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the shards that an index lists, each with exactly the tensors that it should have. Raises CheckpointError."""
    try:
        listed = parse_json(read_regular(index, MAX_INDEX_BYTES))
        places = listed["weight_map"] if isinstance(listed, dict) else None
    except OSError as error:
        raise CheckpointError(f"{index}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{index}: not JSON: {str(error)[:200]}") from None
    except KeyError:
        places = None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index}: has no weight_map, an object with the file of each tensor")
    tensors: dict[str, set[str]] = {}
    for tensor, name in places.items():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(
                f"{index}: {tensor[:200]} is in {short_repr(name)}, but shards are files beside the index with names such as "
                "diffusion_pytorch_model-00001-of-00002.safetensors"
            )
        tensors.setdefault(name, set()).add(tensor)
    if len(tensors) > MAX_SHARDS:
        raise CheckpointError(f"{index}: lists {len(tensors)} shards, at most {MAX_SHARDS} are read")
    return tuple(_checked(index, name, tensors[name]) for name in sorted(tensors))


def _checked(index: Path, name: str, tensors: set[str]) -> Path:
    path = index.parent / name
    try:
        # In the cache of the Hugging Face hub all files are links into one folder, the index as well as its shards.
        if path.resolve(strict=True).parent not in (index.parent.resolve(), index.resolve().parent):
            raise CheckpointError(
                f"{path}: is a link to a file elsewhere; shards must be in the folder itself, so copy it there"
            )
        found = read_header(path).tensors.keys()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file, but {index.name} lists it: download it too") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if differing := sorted(found ^ tensors):
        raise CheckpointError(
            f"{path}: has other tensors than {index.name} says, such as {differing[0][:200]}; the files are of different "
            "checkpoints, so download them again"
        )
    return path


def read_record(weights: Weights) -> tuple[float, dict[str, Any]]:
    """Return the sigma of the pixels and the record of the training that the weights state.

    Files of others state neither, see UNKNOWN_SIGMA. Raises CheckpointError.
    """
    path = weights.files[0]
    try:
        stated = read_header(path).metadata
        data = parse_json(stated.get(RECORD, "{}").encode())
        if not isinstance(data, dict):
            raise ValueError(f"{RECORD} must be an object, not {short_repr(data)}")
        return _sigma(stated.get(SIGMA, "")), {**data, "layout": "diffusers"}
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {SIGMA} or {RECORD} in its metadata: {str(error)[:200]}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def _sigma(stated: str) -> float:
    try:
        return float(stated or UNKNOWN_SIGMA)
    except ValueError:
        raise ValueError(f"{SIGMA} must be a number, not {short_repr(stated)}") from None


def read_weights(weights: Weights, expected: VAE) -> tuple[dict[str, Tensor], bytes]:
    """Read weights for a VAE like `expected`; return its state, in float32, and the bytes of the files.

    Raises CheckpointError.
    """
    shapes = {name.removeprefix(PREFIX): tuple(tensor.shape) for name, tensor in expected.state_dict().items()}
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("likelihood.")}
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    state, contents, path = {}, [], weights.named
    try:
        for path in weights.files:
            found |= read_header(path).tensors
        _check(weights.named, shapes, found)
        for path in weights.files:
            file = read_tensors(path, lambda header: _check_same(header, found))
            contents.append(file.content)
            for name, tensor in file.tensors.items():
                if not torch.isfinite(tensor).all():
                    raise CheckpointError(f"{path}: {name} has values that are not finite")
                state[PREFIX + _present(name)] = tensor.float().reshape(shapes[_present(name)])
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    return state, b"".join(contents)


def _check_same(header: Header, found: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    """Raise TensorFileError if the file is not that whose header was checked any more."""
    if any(found.get(name) != entry for name, entry in header.tensors.items()):
        raise TensorFileError("the file changed while it was read")


def _check(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
) -> None:
    found = {_present(name): entry for name, entry in tensors.items()}
    for problem, names in (
        ("missing tensors", shapes.keys() - found.keys()),
        ("unknown tensors", found.keys() - shapes.keys()),
    ):
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise CheckpointError(f"{path}: {problem}: {', '.join(sorted(names)[:10])[:1000]}{more}")
    if len(found) != len(tensors):
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
