"""Compare the ELBO of training items with that of validation items, and say so if a model overfits.

The weights are those that are saved. Knows nothing of files or of the training loop.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.condition import blocks
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.objective import evidence_lower_bound
from models.standard_error import clustered
from models.vae import VAE

KEY = "overfitting"  # where config.json has the record, in `data`
# A model overfits if training items are better by more than this share of the ELBO and more than so many standard errors.
SHARE, ERRORS = 0.05, 2.0
# So many items of each split are measured, evenly spread.
MEASURED = 1000
BLOCK = 256

# (rows, noise) -> x as in training
Prepare = Callable[[Tensor, torch.Generator], Tensor]


@torch.no_grad()
def record(
    vae: VAE,
    prepare: Prepare,
    training: Tensor,
    validation: Tensor,
    clusters: Tensor | None = None,
    conditions: tuple[Tensor | None, Tensor | None] = (None, None),
) -> dict[str, Any]:
    """Return the mean ELBOs of rows of both splits, (N, ...), and their difference; {} if they are not finite.

    One posterior sample is drawn for each item. The difference is in shares of the validation ELBO's size, and in standard
    errors over the `clusters` of validation items that resemble each other, (N,). `vae` is left in training mode.
    `conditions` are what a conditional model is told about both, int64 (N,) each.
    """
    vae.eval()
    train, held_out = (_elbos(vae, prepare, *own) for own in zip((training, validation), conditions, strict=True))
    vae.train()
    gap = float(train.mean() - held_out.mean())
    over = clustered(held_out, None if clusters is None else clusters[:: _step(validation)])
    errors = (clustered(train).error, clustered(held_out).error if over.error is None else over.error)
    error = math.hypot(*(error or 0.0 for error in errors))
    if not math.isfinite(gap + error):
        return {}
    numbers = {
        "training_elbo": float(train.mean()),
        "validation_elbo": float(held_out.mean()),
        "training_pictures": len(train),
        "validation_pictures": len(held_out),
        "difference": gap / max(abs(float(held_out.mean())), 1e-9),
        "standard_errors": gap / max(error, 1e-9),
    }
    return {KEY: numbers}


def _elbos(vae: VAE, prepare: Prepare, x: Tensor, condition: Tensor | None) -> Tensor:
    told = None if condition is None else condition[:: _step(x)]
    noise, found = torch.Generator(x.device).manual_seed(0), []
    for own, block in blocks(vae, x[:: _step(x)], told, BLOCK):
        eps = torch.randn(len(block), vae.config.latent_dim, generator=noise, device=x.device)
        found.append(evidence_lower_bound(own, prepare(block, noise), eps).elbo)
    return torch.cat(found).double()  # (n,)


def _step(x: Tensor) -> int:
    return -(-len(x) // MEASURED)


def told(data: Mapping[str, Any], kind: Kind = KINDS["picture"]) -> str:
    """Say that a model overfits, by how much, and what helps; "" if it does not. `data` is that of a checkpoint's manifest."""
    found, training = data.get(KEY), data.get("training", {})
    if not isinstance(found, dict) or not (found["difference"] > SHARE and found["standard_errors"] > ERRORS):
        return ""
    dropout = ", --dropout 0.2" if training.get("arch") == "mlp" else ""
    epochs, kept = training.get("epochs"), data.get("kept", {}).get("epoch")
    later = not training.get("patience") and isinstance(epochs, int) and isinstance(kept, int) and kept < epochs
    patience = "; --patience 5 or fewer --epochs save the time after the best epoch" if later else ""
    errors = f"{found['standard_errors']:.1f} standard errors"
    return (
        f"overfitting: the ELBO of {found['training_pictures']:,} training {kind.many} is {found['training_elbo']:.2f}, "
        f"that of {found['validation_pictures']:,} validation {kind.many} {found['validation_elbo']:.2f}, so that it is "
        f"better by {100 * found['difference']:.0f} % and {errors} (told above {100 * SHARE:g} % "
        f"and {ERRORS:g}); what helps: more {kind.many}{dropout}, or a smaller net{patience}"
    )
