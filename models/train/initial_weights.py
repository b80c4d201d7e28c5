"""Start a run from the weights of a checkpoint: its net becomes the default, and its weights must fit.

Knows nothing of the training loop.
"""

import argparse
from typing import Any

from models.checkpoint import Checkpoint, CheckpointError, read
from models.data.sources import is_own
from models.kinds import kind_of
from models.train.kinds import TRAINING, training_for
from models.train.resume import ResumeError
from models.vae import VAE, VAEConfig


class InitError(ResumeError):
    """The weights do not fit the run; the message says what differs."""


def flags_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the flags of --init-from's checkpoint that describe its net and, for data of the user, its items.

    There are none if the checkpoint cannot be read; `load_initial` will say why.
    """
    try:
        manifest = read(args.init_from).manifest
    except CheckpointError:
        return {}
    model, options = manifest.model, dict(manifest.model.arch_options)
    hidden = options.get("hidden")
    flags: dict[str, Any] = {
        "arch": model.arch,
        "latent_dim": model.latent_dim,
        "hidden": [hidden] if isinstance(hidden, int) else hidden,
        "conv_channels": options.get("channels") or options.get("block_out_channels"),
        "likelihood": model.likelihood,
        "prior": model.prior,
        **{name: options[name] for name in ("blocks", "activation", "dropout") if name in options},
        **{name: value for name, value in model.likelihood_options.items() if name == "sigma"},
        **{name: value for name, value in model.prior_options.items() if name == "pseudo_inputs"},
    }
    if manifest.data.get("binarize") in ("dynamic", "none"):
        flags["binarize"] = manifest.data["binarize"]
    training = training_for(args.data)
    if is_own(args.data) and training.kind.name == model.kind:
        own = training.init_flags(manifest)
        if manifest.data.get("name") != args.data:  # Other items are held out anew.
            own.pop("validation", None)
        flags |= own
    return flags


def load_initial(path: str, vae: VAE, data: str = "") -> Checkpoint:
    """Copy the checkpoint's weights into a model of the same net and size; return the checkpoint. Raises InitError.

    The likelihood may differ: nets give the logits of the mean for all of them, and its own parameters then start anew.
    """
    try:
        checkpoint = read(path)
    except CheckpointError as error:
        raise InitError(f"--init-from {path}: {error}") from None
    saved = checkpoint.manifest.model
    difference = differences(saved, vae.config)
    if difference:
        raise InitError(
            f"--init-from {path} does not fit this run: {'; '.join(difference)}. {advice(saved, vae.config, data)}"
        )
    vae.net.load_state_dict(checkpoint.vae.net.state_dict())
    vae.prior_layer.load_state_dict(checkpoint.vae.prior_layer.state_dict())
    if (checkpoint.vae.config.likelihood, checkpoint.vae.config.likelihood_options) == (
        vae.config.likelihood,
        vae.config.likelihood_options,
    ):
        vae.likelihood.load_state_dict(checkpoint.vae.likelihood.state_dict())
    return checkpoint


def differences(saved: VAEConfig, wanted: VAEConfig) -> list[str]:
    """Return what differs between two models whose weights must have the same shapes, as sentences."""
    found = []
    if saved.kind != wanted.kind:
        return [f"it is a model of {kind_of(saved.kind).many}, this run has {kind_of(wanted.kind).many}"]
    if saved.shape != wanted.shape:
        found.append(f"its {kind_of(saved.kind).many} are {_shape(saved)}, those of this run are {_shape(wanted)}")
    if saved.latent_dim != wanted.latent_dim:
        found.append(f"it has {saved.latent_dim} latent dimensions, this run has {wanted.latent_dim}")
    for what in ("arch", "prior"):
        was, now = getattr(saved, what), getattr(wanted, what)
        if was != now:
            found.append(f"its {what} is {was}, that of this run is {now}")
    found += [f"its {flag} is {_text(was)}, that of this run is {_text(now)}" for flag, was, now in _options(saved, wanted)]
    return found


def advice(saved: VAEConfig, wanted: VAEConfig, data: str) -> str:
    """Return a sentence with the flags that make a run with these data fit the checkpoint."""
    flags: list[str] = []
    if saved.kind != wanted.kind:
        return "Choose another checkpoint"
    if saved.shape != wanted.shape:
        flags = TRAINING[saved.kind].shape_flags(saved.shape, wanted.shape)
        if not flags or not is_own(data):
            many = kind_of(saved.kind).many
            return f"The {many} of {data or 'this data set'} keep their size: choose another checkpoint, or other data"
    if saved.arch != wanted.arch:
        flags.append(f"--arch {saved.arch}")
    if saved.latent_dim != wanted.latent_dim:
        flags.append(f"--latent-dim {saved.latent_dim}")
    if saved.prior != wanted.prior:
        flags.append(f"--prior {saved.prior}")
    flags += [f"--{flag} {_text(was)}" for flag, was, _ in _options(saved, wanted) if was is not None]
    return f"Start this run with {' '.join(flags)}" if flags else "Choose another checkpoint"


def _options(saved: VAEConfig, wanted: VAEConfig) -> list[tuple[str, Any, Any]]:
    """Return flag, saved and wanted value of each option that differs between nets and priors of the same kind."""
    found = []
    for kind, options in (("arch", "arch_options"), ("prior", "prior_options")):
        if getattr(saved, kind) == getattr(wanted, kind):
            was, now = getattr(saved, options), getattr(wanted, options)
            names = {"channels": "conv-channels", "pseudo_inputs": "pseudo-inputs"}
            found += [
                (names.get(name, name), was.get(name), now.get(name))
                for name in {**was, **now}
                if was.get(name) != now.get(name)
            ]
    return found


def _text(value: Any) -> str:
    """Write a value as its flag takes it: 500,500 for widths."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _shape(config: VAEConfig) -> str:
    return TRAINING[config.kind].size(config.shape).replace(" pixels,", "")
