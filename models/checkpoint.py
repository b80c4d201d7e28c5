"""Save and load checkpoints: directories with config.json, model.safetensors and a README.md, which is the model's card.

Never pickle. Every defect raises CheckpointError, which names the file and the reason. Knows nothing of training or HTTP.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models import diffusers_layout, diffusers_weights
from models.build import build
from models.checkpoint_error import CheckpointError as CheckpointError
from models.files.atomic_file import make_directory, write_atomically, write_together
from models.files.plain_json import parse_json
from models.files.regular_file import read_regular
from models.files.tensor_file import Header, TensorFile, TensorFileError, read_tensors, to_bytes
from models.hub import HubError, downloaded, is_hub_name
from models.kinds import kind_of
from models.kinds.kind import Preprocessing
from models.metric_choice import MetricChoice
from models.preprocess import Preprocessing as Pictures
from models.vae import VAE, VAEConfig

FORMAT_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
# Size limit of config.json and metrics.json, far more than they need.
MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """The content of config.json. `data` records the data set, its binarisation, and the arguments of the training.

    `search` is the metric of searches among the model's latents; `record_metric` adds it.
    """

    model: VAEConfig
    preprocessing: Any  # that of the model's kind, see `models.kinds`
    data: dict[str, Any]
    format_version: int = FORMAT_VERSION
    search: MetricChoice = field(default_factory=MetricChoice)

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise ValueError(f"data must be an object, not {short_repr(self.data)}")
        if self.preprocessing.shape != self.model.shape:
            raise ValueError(f"preprocessing gives the shape {self.preprocessing.shape}, the model takes {self.model.shape}")
        kind_of(self.model.kind).check_preprocessing(self.preprocessing, self.model.arch_options)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded VAE (on the CPU, in evaluation mode, without gradients), its configuration and its digest."""

    vae: VAE
    manifest: Manifest
    digest: str  # SHA-256, hexadecimal, over config.json (without `search`) followed by model.safetensors


def load(path: str | Path, revision: str | None = None) -> VAE:
    """Load the VAE of a checkpoint, ready to encode and decode, without gradients. Raises CheckpointError.

    `path` is a directory, or the name of a repository of the Hugging Face hub, "owner/name", if there is nothing here under
    that name; `revision` is its branch, tag or commit.
    """
    if is_hub_name(path):
        try:
            return read(downloaded(str(path), revision, CONFIG, WEIGHTS)).vae
        except HubError as error:
            raise CheckpointError(str(error)) from error
    if revision is not None:
        raise CheckpointError(
            f"{path}: is no name of a repository of the Hugging Face hub, but a path here, which has no revisions: leave "
            f"revision={short_repr(revision)} out"
        )
    return read(path).vae


def save(
    path: str | Path, vae: VAE, preprocessing: Preprocessing | None = None, data: Mapping[str, Any] | None = None
) -> None:
    """Write config.json and model.safetensors into the directory `path`, which is created if it is missing.

    Each file is replaced whole or not at all, even if the process is killed or the disk is full. If one cannot be written
    (OSError, which says what is there now), the old files are restored; only a kill between the two moves leaves new weights
    beside an old config.json. After the return, the files survive a power cut.
    By default `preprocessing` is that of the kind: pictures are padded to the model's size.
    """
    manifest = Manifest(vae.config, preprocessing or vae.kind.default_preprocessing(vae.config.shape), dict(data or {}))
    config = _config_bytes(_stored(manifest))
    directory = Path(path)
    make_directory(directory)
    write_together({directory / WEIGHTS: _weights(vae, {}), directory / CONFIG: config})


def record_metric(path: Path, search: MetricChoice) -> None:
    """Record the metric of searches in config.json, as `search`; the digest stays. Raises CheckpointError, OSError."""
    file = path / CONFIG
    content = _read_bytes(file)
    _parse_manifest(file, content)
    new = _config_bytes({**parse_json(content), "search": dataclasses.asdict(search)})
    if _without_metric(new) != _without_metric(content):
        raise CheckpointError(f"{file}: was edited by hand, and writing it anew would change the digest of the model")
    write_atomically(file, new)


def save_weights(path: Path, vae: VAE, average: Mapping[str, Tensor], durable: bool = True) -> None:
    """Write the weights of a model to one safetensors file; those in `average` replace others of their names.

    `durable`: see `write_atomically`. Raises OSError.
    """
    write_atomically(path, _weights(vae, average), durable)


def read_weights(path: Path, vae: VAE) -> None:
    """Load a file written by `save_weights` into a model with the same configuration. Raises CheckpointError."""
    vae.load_state_dict(_read_weights(path, vae).tensors)


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint directory and check everything in it. Raises CheckpointError."""
    directory = Path(path)
    if not (directory / CONFIG).exists():
        diffusers_layout.check_is_no_pipeline(directory)
    config_bytes = _read_bytes(directory / CONFIG)
    if diffusers_layout.is_diffusers(raw := _parse_object(directory / CONFIG, config_bytes)):
        return _read_diffusers(directory, config_bytes, raw)
    manifest = _parse_manifest(directory / CONFIG, config_bytes)
    weights = _read_weights(directory / WEIGHTS, _shapes(directory / CONFIG, manifest))
    vae = VAE(manifest.model)
    vae.load_state_dict(weights.tensors)
    vae.requires_grad_(False).eval()
    return Checkpoint(vae, manifest, hashlib.sha256(_without_metric(config_bytes) + weights.content).hexdigest())


def _read_diffusers(directory: Path, config_bytes: bytes, raw: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint in the layout of diffusers. Raises CheckpointError."""
    file = directory / CONFIG
    diffusers_layout.check_class(file, raw)
    diffusers_layout.check_installed(directory)
    diffusers_layout.check_numbers(file, config_bytes)
    weights = diffusers_weights.find_weights(directory)
    sigma, data = diffusers_weights.read_record(weights)
    try:
        config = diffusers_layout.model_config(raw, sigma)
        channels, height, width = config.shape
        manifest = Manifest(config, Pictures(channels, height, width, fit="exact"), data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {_shortened(error)}") from None
    state, content = diffusers_weights.read_weights(weights, _shapes(file, manifest))
    vae = VAE(manifest.model)
    vae.load_state_dict(state)
    vae.requires_grad_(False).eval()
    return Checkpoint(vae, manifest, diffusers_layout.digest_of(config_bytes, content))


def _shapes(file: Path, manifest: Manifest) -> VAE:
    """Return a VAE on torch's device "meta": it has names and shapes only, and no memory. Raises CheckpointError."""
    try:
        with torch.device("meta"):
            return VAE(manifest.model)
    except (ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:  # Bad options can raise any of these.
        raise CheckpointError(f"{file}: {_shortened(error)}") from None


def _model_json(config: VAEConfig) -> str:
    return json.dumps(config.stored(), sort_keys=True)


def _stored(manifest: Manifest) -> dict[str, Any]:
    stored = {
        **dataclasses.asdict(manifest), "model": manifest.model.stored(), "preprocessing": manifest.preprocessing.stored()
    }  # fmt: skip
    del stored["search"]
    return stored


def _config_bytes(stored: Mapping[str, Any]) -> bytes:
    return (json.dumps(stored, indent=2) + "\n").encode()


def _without_metric(content: bytes) -> bytes:
    """Return what config.json was before `record_metric`.

    The digest is about this: a new choice changes no answer of the model, and collections of its latents stay usable.
    """
    stored = parse_json(content)
    return _config_bytes({key: value for key, value in stored.items() if key != "search"}) if "search" in stored else content


def _read_bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_JSON_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"{path}: no such file; a checkpoint is a directory with {CONFIG} and {WEIGHTS}")
    return CheckpointError(f"{path}: {error.strerror}")


def _parse_object(path: Path, content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {_shortened(error)}") from None


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    raw = _parse_object(path, content)
    if diffusers_layout.is_diffusers(raw):
        raise CheckpointError(f"{path}: is that of diffusers, in whose layout nothing more is recorded")
    if isinstance(raw, dict) and "format_version" not in raw and diffusers_weights.has_weights(path.parent):
        raise CheckpointError(f"{path}: has no _class_name, which is {diffusers_layout.CLASS} for the weights beside it")
    if not isinstance(raw, dict) or type(raw.get("format_version")) is not int or raw["format_version"] < 1:
        raise CheckpointError(f"{path}: has no format_version, so it is not the configuration of a checkpoint")
    if raw["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {raw['format_version']} is newer than {FORMAT_VERSION}, the newest supported one; "
            "update this software"
        )
    try:
        model = build(VAEConfig, raw.pop("model", None), "model")
        parts = {
            "model": model,
            "preprocessing": build(kind_of(model.kind).preprocessing, raw.pop("preprocessing", None), "preprocessing"),
            "search": build(MetricChoice, raw.pop("search", {}), "search"),
        }
        return build(Manifest, raw | parts, "it")
    except ValueError as error:
        raise CheckpointError(f"{path}: {_shortened(error)}") from None


def _shortened(error: BaseException) -> str:
    """Return the message of an error, cut because a hostile configuration may hold a megabyte."""
    text = str(error)
    return text if len(text) <= 500 else f"{text[:500]}..."


def _weights(vae: VAE, average: Mapping[str, Tensor]) -> bytes:
    # The metadata has the configuration too, so that files of two different saves are never mistaken for a pair.
    # "format" tells other programs that read safetensors files, such as transformers, that the tensors are torch's.
    return to_bytes({**vae.state_dict(), **average}, {"format": "pt", "model": _model_json(vae.config)})


def _read_weights(path: Path, expected: VAE) -> TensorFile:
    """Read the weights for a model like `expected`, whose parameters may be on torch's device "meta"."""
    try:
        weights = read_tensors(path, partial(_check_header, path, expected))
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    for name, tensor in weights.tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
    return weights


def _check_header(path: Path, model: VAE, header: Header) -> None:
    expected, found = model.state_dict(), header.tensors
    for problem, names in (
        ("missing tensors", expected.keys() - found.keys()),
        ("unknown tensors", found.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise CheckpointError(f"{path}: {problem}: {', '.join(sorted(names)[:10])[:1000]}{more}")
    for name, tensor in expected.items():
        dtype, shape = found[name]
        if shape != tensor.shape or dtype != tensor.dtype:
            raise CheckpointError(f"{path}: {name} is {dtype} {shape}, should be {tensor.dtype} {tuple(tensor.shape)}")
    saved_with = header.metadata.get("model")
    if saved_with is not None and saved_with != _model_json(model.config):
        raise CheckpointError(f"{path}: was saved with a model other than that in {CONFIG} beside it: {saved_with[:500]}")
