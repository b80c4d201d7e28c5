"""Flags of the train command -> the configuration of a model, its parameters in groups, and what flags contradict each other.

Knows nothing of pictures, files or the training loop.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.condition import Condition
from models.kinds.kind import Kind
from models.nets import takes_condition
from models.readers.memory import free_memory
from models.train.kinds import training_for
from models.train.kinds.training import Training
from models.train.training_error import TrainingError
from models.vae import VAE, VAEConfig

# Flags that have an effect with one value of another flag only.
ONLY_WITH: Mapping[str, tuple[str, str]] = {
    "sigma": ("likelihood", "gaussian"),
    "pseudo_inputs": ("prior", "vamp"),
    "blocks": ("arch", "residual"),
    "free_bits": ("objective", "free-bits"),
    "stratified": ("objective", "beta-tc"),
    "feature_weight": ("objective", "perceptual"),
    "pixel_weight": ("objective", "perceptual"),
}
OTHER_NAMES = {"arch": "architecture"}
BYTES_PER_WEIGHT = 16  # float32: the weight, its gradient, and the two moments of Adam


def has_effect(flag: str, values: Mapping[str, Any]) -> bool:
    """Return whether a flag changes anything, given the values of all flags. A value that is open may be the right one."""
    other, wanted = ONLY_WITH.get(flag, ("", ""))
    return not other or values[other] in (wanted, None)


def check_given(args: argparse.Namespace) -> None:
    """Raise TrainingError if the command line has a flag that would change nothing; those of presets may be idle."""
    for flag in args.given:
        if not has_effect(flag, vars(args)):
            other, wanted = ONLY_WITH[flag]
            word, _, reason = (args.choices or {}).get(other, getattr(args, other)).partition(", ")
            name = f"--{flag.replace('_', '-')}"
            raise TrainingError(
                f"{name} is for --{other} {wanted}, but the {OTHER_NAMES.get(other, other)} is {word}"
                f"{f' ({reason})' if reason else ''}: add --{other} {wanted}, or leave {name} out"
            )


def check_flags(args: argparse.Namespace) -> None:
    """Raise TrainingError for flags that contradict each other, whatever the data are."""
    check_given(args)
    if args.objective == "free-bits" and args.prior != "standard":
        raise TrainingError("--objective free-bits needs the KL of each dimension, so it works with --prior standard only")
    if args.condition and args.prior != "standard":
        raise TrainingError(f"--condition goes with --prior standard only, not with {args.prior}")
    kind = training_for(args.data).kind
    if args.condition and not any(map(takes_condition, kind.nets)):
        raise TrainingError(
            f"--condition is for pictures: models of {kind.many} cannot be told anything beside the {kind.many} yet, so leave "
            "it out"
        )
    if args.condition and args.compile:
        raise TrainingError("--compile does not know labels, which --condition gives: leave out one of them")
    if args.objective == "perceptual" and args.binarize == "dynamic":
        raise TrainingError(
            "--objective perceptual compares features of greys, and --binarize dynamic draws each of them as 0 or 1: "
            "add --binarize none, or choose another objective"
        )
    if args.objective in ("iwae", "iwae-dreg") and args.samples == 1:
        raise TrainingError(
            f"--objective {args.objective} with --samples 1 is only the ELBO with a noisier KL: choose --samples 2 or more"
        )


def check_batch(args: argparse.Namespace, batch_size: int, training: Training, processes: int = 1) -> None:
    """Raise TrainingError if an objective needs larger batches, or if a flag does not work for the kind or for processes."""
    for flag, asked, works in (
        ("--precision bf16", args.precision == "bf16", training.bf16),
        ("--compile", args.compile, training.compiles),
    ):
        if asked and not works:
            raise TrainingError(f"{flag} does not work for models of {training.kind.many}: leave it out")
    if args.compile and processes > 1:
        raise TrainingError(
            f"--compile does not work with {processes} processes, which add up their gradients while they are computed: leave "
            "it out, or start the run without torchrun"
        )
    if args.objective == "beta-tc" and batch_size < 2:
        raise TrainingError("--objective beta-tc compares the items of a batch, so it needs a --batch-size of 2 or more")


def parameter_groups(vae: VAE, l2: float) -> list[dict[str, Any]]:
    """Return two groups for Adam: weight matrices with L2 penalty (l2/2 times their squares), all others without."""
    if not l2:
        return [{"params": list(vae.parameters())}]
    weights = [parameter for parameter in vae.net.parameters() if parameter.dim() > 1]
    chosen = {id(parameter) for parameter in weights}
    others = [parameter for parameter in vae.parameters() if id(parameter) not in chosen]
    return [{"params": weights, "weight_decay": l2}, {"params": others}]


def model_config(args: argparse.Namespace, x: Tensor, spec: Any = None, condition: Condition | None = None) -> VAEConfig:
    """Return the configuration for the flags, and fill in defaults that depend on the data. Raises TrainingError.

    x: rows of the kind, (N, ...). `spec` is their preprocessing, None if they were rows already.
    """
    check_given(args)
    training = training_for(args.data)
    try:
        _check_parts(training.kind, args)
        options = training.net_options(args, x, spec)
        args.binarize = args.binarize or "none"
        likelihood_options = training.likelihood_options(args, x, spec)
        prior_options = {"pseudo_inputs": min(args.pseudo_inputs, len(x))} if args.prior == "vamp" else {}
        config = VAEConfig(
            tuple(x.shape[1:]), args.latent_dim, args.arch, options, args.likelihood, likelihood_options,
            args.prior, prior_options, training.kind.name, condition,
        )  # fmt: skip
        _check_memory(config)
        VAE(config)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return config


def _check_parts(kind: Kind, args: argparse.Namespace) -> None:
    """Raise TrainingError if a flag names a part that models of this kind do not have."""
    try:
        kind.check_parts(args.arch, args.likelihood, args.prior)
    except ValueError as error:
        named = {"arch": kind.nets, "likelihood": kind.likelihoods, "prior": kind.priors}
        wrong = next(flag for flag, names in named.items() if getattr(args, flag) not in names)
        raise TrainingError(f"{error}: leave --{wrong} out") from None


def _check_memory(config: VAEConfig) -> None:
    """Raise TrainingError if the weights, their gradients and the moments of Adam are more than the free memory."""
    with torch.device("meta"):  # allocates nothing
        weights = sum(parameter.numel() for parameter in VAE(config).parameters())
    needed, free = BYTES_PER_WEIGHT * weights, free_memory()
    if free is not None and needed > free:
        raise TrainingError(
            f"a net of {weights:,} weights needs {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free; "
            "choose a smaller --latent-dim, --hidden, --conv-channels or --size"
        )
