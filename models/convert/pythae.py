"""Read a model that pythae has saved: a directory with model_config.json and model.pt.

Those with pythae's default nets are `mlp` nets here, with the same posteriors and means but for rounding. Custom nets are
pickled code, which is never read; model.pt is read by torch's restricted reader, which makes tensors and runs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import MAX_JSON_BYTES
from models.files.plain_json import parse_json
from models.files.regular_file import open_regular, read_regular
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
        raise ConvertError(f"{path}: {CONFIG} and {WEIGHTS} do not fit together: {str(error)[:500]}") from None
    if not all(torch.isfinite(value).all() for value in vae.state_dict().values()):
        raise ConvertError(f"{path / WEIGHTS}: has values that are not finite")
    return Converted(vae, {"software": "pythae", "name": config["name"].removesuffix("Config"), "reconstruction_loss": loss})


def _weights(path: Path) -> Mapping[str, Tensor]:
    try:
        with open_regular(path) as file:
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConvertError(f"{path}: no such file; what pythae saves is a directory with {CONFIG} and {WEIGHTS}") from None
    except Exception as error:  # torch raises many unrelated types for files that are no weights
        raise ConvertError(f"{path}: cannot be read as weights of torch: {type(error).__name__}: {str(error)[:300]}") from None
    weights = stored.get("model_state_dict") if isinstance(stored, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ConvertError(f"{path}: has no model_state_dict with tensors")
    return weights


def _model(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> VAE:
    """Return the model with these weights. Raises KeyError, ValueError, TypeError, RuntimeError."""
    likelihood, options = LIKELIHOODS[config["reconstruction_loss"]]
    first, last = "encoder.layers.0.0", "decoder.layers.1.0"
    hidden = [weights[f"{first}.weight"].shape[0]]
    vae = VAE(VAEConfig(config["input_dim"], config["latent_dim"], "mlp", {"hidden": hidden}, likelihood, options))
    own = {}
    for end in ("weight", "bias"):
        own[f"net.encoder.1.{end}"] = weights[f"{first}.{end}"]
        own[f"net.encoder.3.{end}"] = torch.cat([weights[f"encoder.embedding.{end}"], weights[f"encoder.log_var.{end}"]])
        own[f"net.decoder.0.{end}"] = weights[f"decoder.layers.0.0.{end}"]
        own[f"net.decoder.2.{end}"] = weights[f"{last}.{end}"]
    vae.load_state_dict(own)
    return vae.eval().requires_grad_(False)
