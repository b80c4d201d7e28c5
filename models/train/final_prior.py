"""Fit the aggregate prior at the end of a run, as `models.evaluate --fit-prior` does, on a bounded number of pictures."""

import argparse
import math
from pathlib import Path

from models.aggregate import CANDIDATES, DRAWS, fit_prior, why_no_labels
from models.calibration import CALIBRATION, StaleCalibration, read_calibration
from models.checkpoint import Checkpoint
from models.data import Items, class_names
from models.mixture import PRIOR, ComponentLabels, StalePrior, read_prior, write_prior
from models.readers.left_out import plural
from models.train.kinds import training_for
from models.train.training_data import Loaded

# Most items that are encoded: more improve the mixture little, and EM would take longer than a small run.
MOST_ITEMS = 10_000
# Each component needs so many draws for each latent dimension. Fewer would only memorise items.
DRAWS_PER_DIMENSION = 10
SEED = 0


def end_with_prior(out: Path, checkpoint: Checkpoint, args: argparse.Namespace, training: Items, held_out: Items) -> str:
    """Write prior.safetensors beside the weights, unless it is there; return a line for the user, "" if nothing was done.

    The items are on the training device. Where no mixture is fitted, one that belongs to
    other weights is removed, as is a calibration of other weights.
    """
    dim = checkpoint.vae.config.latent_dim
    try:
        read_calibration(out, checkpoint.digest, dim)
    except StaleCalibration:
        (out / CALIBRATION).unlink()
    try:
        if read_prior(out, checkpoint.digest, dim) is not None:
            return ""
    except StalePrior:
        (out / PRIOR).unlink()
    kind = checkpoint.vae.kind
    if reason := why_not(args, len(training), dim):
        return f"prior: none was fitted, because {kind.worded(reason)}"
    vae, candidates = checkpoint.vae.to(training.x.device), candidates_for(len(training), dim)
    binarize = args.binarize == "dynamic"
    fitting, check = training[:MOST_ITEMS], held_out[:MOST_ITEMS]
    names = class_names(checkpoint.manifest.data)
    labels, told = None if args.condition else fitting.labels, (fitting.condition, check.condition)
    fit, record = fit_prior(vae, fitting.x, check.x, "full", candidates, SEED, binarize, labels, names, told)
    gain = max(fit.held_out.values()) - fit.standard
    if gain <= 0:
        no_labels = "" if training.labels is None or args.condition else "; so it knows no labels"
        return f"prior: none was fitted, because N(0, I) describes the held-out latents as well as any mixture{no_labels}"
    own = None if fit.labels is None else ComponentLabels.named(fit.labels, names)
    write_prior(out, fit.mixture, checkpoint.digest, {**record, "fitted_by": "models.train"}, own)
    known = "" if own is None else f", for one of {plural(len(own.names), 'label')} if asked"
    if reason := record.get("labels_left_out", ""):
        known = f"; it knows no labels, because {kind.worded(reason)}"
    return (
        f"prior: a mixture of {plural(len(fit.mixture), 'Gaussian')} was fitted to the latents of "
        f"{plural(len(fitting), kind.noun, kind.many)}, {gain:.2f} nats better than N(0, I); /sample draws from it{known}"
    )


def candidates_for(items: int, dim: int) -> list[int]:
    """Return the numbers of Gaussians that so many training items can be fitted with."""
    return [k for k in CANDIDATES if k * DRAWS_PER_DIMENSION * (dim + 1) <= DRAWS * min(items, MOST_ITEMS)]


def lost_labels(args: argparse.Namespace, loaded: Loaded, dim: int) -> str:
    """Return why the fitted prior of a run with `dim` latent dimensions will not know the labels; "" if it will.

    Also "" without labels, with a condition, which takes their place, and if no prior is wanted.
    """
    labels = loaded.training.labels
    if labels is None or args.condition or unwanted(args):
        return ""
    names = class_names({"name": args.data, "classes": loaded.classes})
    return why_not(args, len(labels), dim) or why_no_labels(labels[:MOST_ITEMS], dim, names)


def unwanted(args: argparse.Namespace) -> str:
    """Return the reason in the flags why no mixture is fitted, "" if one is wanted."""
    if not args.fit_prior:
        return "of --no-fit-prior"
    if args.objective in ("autoencoder", "kl-only"):
        return f"--objective {args.objective} trains no posterior to draw from"
    if args.prior != "standard":
        return f"the model has learnt its own prior (--prior {args.prior})"
    return ""


def why_not(args: argparse.Namespace, items: int, dim: int) -> str:
    """Return the reason why no mixture is fitted, "" if one is."""
    if reason := unwanted(args):
        return reason
    if not candidates_for(items, dim):
        many = training_for(args.data).kind.many
        needed, each = math.ceil(DRAWS_PER_DIMENSION * (dim + 1) / DRAWS), f"{DRAWS_PER_DIMENSION} x {dim + 1} draws"
        there = f"there {'is' if items == 1 else 'are'} {items:,}"
        found = there if items < needed else f"at most {MOST_ITEMS:,} are used"
        return (
            f"a mixture over {plural(dim, 'latent dimension')} needs at least {needed:,} {many} ({each}, two from each), "
            f"and {found}"
        )
    return ""
