"""Fit the aggregate prior at the end of a run, as `models.evaluate --fit-prior` does, on a bounded number of pictures."""

import argparse
from pathlib import Path

from torch import Tensor

from models.aggregate import CANDIDATES, DRAWS, fit_prior
from models.checkpoint import Checkpoint
from models.mixture import PRIOR, StalePrior, read_prior, write_prior
from models.readers.left_out import plural

# Most pictures that are encoded: more improve the mixture little, and EM would take longer than a small run.
MOST_PICTURES = 10_000
# Each component needs so many draws for each latent dimension. Fewer would only memorise pictures.
DRAWS_PER_DIMENSION = 10
SEED = 0


def end_with_prior(out: Path, checkpoint: Checkpoint, args: argparse.Namespace, training: Tensor, held_out: Tensor) -> str:
    """Write prior.safetensors beside the weights, unless it is there; return a line for the user, "" if nothing was done.

    training, held_out: uint8 (N, C, H, W) on the training device. A mixture of other weights is removed where none is fitted.
    """
    dim = checkpoint.vae.config.latent_dim
    try:
        if read_prior(out, checkpoint.digest, dim) is not None:
            return ""
    except StalePrior:
        (out / PRIOR).unlink()
    candidates = [k for k in CANDIDATES if k * DRAWS_PER_DIMENSION * (dim + 1) <= DRAWS * min(len(training), MOST_PICTURES)]
    reason = why_not(args, len(training), dim, candidates)
    if reason:
        return f"prior: none was fitted, because {reason}"
    vae = checkpoint.vae.to(training.device)
    binarize = args.binarize == "dynamic"
    fit, record = fit_prior(vae, training[:MOST_PICTURES], held_out[:MOST_PICTURES], "full", candidates, SEED, binarize)
    gain = max(fit.held_out.values()) - fit.standard
    if gain <= 0:
        return "prior: none was fitted, because N(0, I) describes the held-out latents as well as any mixture"
    write_prior(out, fit.mixture, checkpoint.digest, {**record, "fitted_by": "models.train"})
    return (
        f"prior: a mixture of {plural(len(fit.mixture), 'Gaussian')} was fitted to the latents of "
        f"{plural(min(len(training), MOST_PICTURES), 'picture')}, {gain:.2f} nats better than N(0, I); /sample draws from it"
    )


def why_not(args: argparse.Namespace, pictures: int, dim: int, candidates: list[int]) -> str:
    """Return the reason why no mixture is fitted, "" if one is."""
    if not args.fit_prior:
        return "of --no-fit-prior"
    if args.objective in ("autoencoder", "kl-only"):
        return f"--objective {args.objective} trains no posterior to draw from"
    if args.prior != "standard":
        return f"the model has learnt its own prior (--prior {args.prior})"
    if not candidates:
        return f"a mixture over {plural(dim, 'latent dimension')} needs more than {plural(pictures, 'picture')}"
    return ""
