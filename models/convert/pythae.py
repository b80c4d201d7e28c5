"""Read a model that pythae has saved: a directory with model_config.json and model.pt.

Those with pythae's default nets are `mlp` nets here, with the same posteriors and means but for rounding. Custom nets are
pickled code, which is never read; model.pt is read by torch's restricted reader, which makes tensors and runs nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import MAX_JSON_BYTES
from models.files.plain_json import parse_json
from models.files.regular_file import open_regular, read_regular
from models.program import first_line
from models.vae import VAE, VAEConfig

CONFIG, WEIGHTS = "model_config.json", "model.pt"
CUSTOM = ("encoder.pkl", "decoder.pkl")
# Those of pythae's models that have a Gaussian posterior and the prior N(0, I), and differ in their objectives only.
KNOWN = ("VAEConfig", "BetaVAEConfig", "DisentangledBetaVAEConfig", "BetaTCVAEConfig", "IWAEConfig")
# pythae's losses are half the squared error, which is a Gaussian with sigma 1, or the cross-entropy.
LIKELIHOODS: Mapping[str, tuple[str, dict[str, Any]]] = {"mse": ("gaussian", {"sigma": 1.0}), "bce": ("bernoulli", {})}


class ConvertError(Exception):
    """The model cannot be converted; the message says why."""


@dataclass(frozen=True)
class Converted:
    """A model, and what is recorded of where it came from."""

    vae: VAE
    origin: dict[str, Any]


def read_pythae(path: Path) -> Converted:
    """Return the model in a directory. Raises ConvertError."""
    try:
        config = parse_json(read_regular(path / CONFIG, MAX_JSON_BYTES))
    except FileNotFoundError:
        raise ConvertError(
            f"{path / CONFIG}: no such file; what pythae saves is a directory with {CONFIG} and {WEIGHTS}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConvertError(f"{path / CONFIG}: cannot be read as JSON: {str(error)[:300]}") from None
    if not isinstance(config, dict) or config.get("name") not in KNOWN:
        found = short_repr(config.get("name") if isinstance(config, dict) else config)
        raise ConvertError(f"{path / CONFIG}: the name is {found}, and only these are converted: {', '.join(KNOWN)}")
    custom = [name for name in CUSTOM if (path / name).exists()]
    if custom or not (config.get("uses_default_encoder", True) and config.get("uses_default_decoder", True)):
        raise ConvertError(
            f"{path}: has nets of its own, which are code; only models with pythae's default nets are converted"
        )
    loss = config.get("reconstruction_loss")
    if not isinstance(loss, str) or loss not in LIKELIHOODS:
        raise ConvertError(
            f"{path / CONFIG}: the reconstruction_loss is {short_repr(loss)}, known are {', '.join(LIKELIHOODS)}"
        )
    if missing := [name for name in ("input_dim", "latent_dim") if name not in config]:
        raise ConvertError(f"{path / CONFIG}: lacks {' and '.join(missing)}")
    weights = _weights(path / WEIGHTS)
    try:
        vae = _model(config, weights)
    except KeyError as error:
        raise ConvertError(f"{path / WEIGHTS}: has no {error} of pythae's default nets") from None
    except (ValueError, TypeError, RuntimeError) as error:
        said = str(error) if isinstance(error, ValueError) else first_line(error)
        raise ConvertError(f"{path}: {CONFIG} and {WEIGHTS} do not fit together: {said[:500]}") from None
    if not all(torch.isfinite(value).all() for value in vae.state_dict().values()):
        raise ConvertError(f"{path / WEIGHTS}: has values that are not finite")
    return Converted(vae, {"software": "pythae", "name": config["name"].removesuffix("Config"), "reconstruction_loss": loss})


def _weights(path: Path) -> Mapping[str, Tensor]:
    try:
        with open_regular(path) as file:
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConvertError(f"{path}: no such file; what pythae saves is a directory with {CONFIG} and {WEIGHTS}") from None
    except UnpicklingError:  # whose message advises to read the file without the restrictions
        raise ConvertError(
            f"{path}: is damaged or has more than tensors, which is not read because a pickle may run any code; download it "
            "again or, if you trust it, write it again with torch.save({'model_state_dict': model.state_dict()}, 'model.pt')"
        ) from None
    except OSError as error:
        raise ConvertError(f"{path}: {error.strerror or error}") from None
    except Exception:  # torch raises many unrelated types for files that are no weights, and speaks of its own internals
        raise ConvertError(f"{path}: cannot be read as weights of torch: it is empty, damaged or of another format") from None
    weights = stored.get("model_state_dict") if isinstance(stored, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ConvertError(f"{path}: has no model_state_dict with tensors")
    return weights


def _model(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> VAE:
    """Return the model with these weights. Raises KeyError, ValueError, TypeError, RuntimeError."""
    likelihood, options = LIKELIHOODS[config["reconstruction_loss"]]
    first, last = "encoder.layers.0.0", "decoder.layers.1.0"
    hidden = [weights[f"{first}.weight"].shape[0]]
    sizes = config["input_dim"], config["latent_dim"]
    if not isinstance(sizes[0], list) or type(sizes[1]) is not int:
        raise ValueError(f"input_dim must be a list of integers and latent_dim an integer, not {short_repr(sizes)}")
    own_config = VAEConfig(config["input_dim"], config["latent_dim"], "mlp", {"hidden": hidden}, likelihood, options)
    _check_sizes(own_config, hidden[0], weights)  # before the net takes memory
    vae = VAE(own_config)
    own = {}
    for end in ("weight", "bias"):
        own[f"net.encoder.1.{end}"] = weights[f"{first}.{end}"]
        own[f"net.encoder.3.{end}"] = torch.cat([weights[f"encoder.embedding.{end}"], weights[f"encoder.log_var.{end}"]])
        own[f"net.decoder.0.{end}"] = weights[f"decoder.layers.0.0.{end}"]
        own[f"net.decoder.2.{end}"] = weights[f"{last}.{end}"]
    vae.load_state_dict(own)
    return vae.eval().requires_grad_(False)


def _check_sizes(config: VAEConfig, hidden: int, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a tensor of another size than pythae's default nets have for the numbers in its configuration."""
    values = math.prod(config.shape)
    layers = {
        "encoder.layers.0.0": (hidden, values),
        "encoder.embedding": (config.latent_dim, hidden),
        "encoder.log_var": (config.latent_dim, hidden),
        "decoder.layers.0.0": (hidden, config.latent_dim),
        "decoder.layers.1.0": (values, hidden),
    }
    for name, size in layers.items():
        for tensor, expected in ((f"{name}.weight", size), (f"{name}.bias", size[:1])):
            if (found := tuple(weights[tensor].shape)) != expected:
                raise ValueError(
                    f"the input_dim {list(config.shape)} and the latent_dim {config.latent_dim} need {expected} numbers in "
                    f"{tensor}, and it has {found}"
                )
