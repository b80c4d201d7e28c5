"""Numbers of models of sequences: what the latent is worth, and whether a decoded item still shows what it came from.

Knows nothing of files or cards.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.evaluate.html import rounded
from models.vae import VAE

KEY = "sequences"
BLOCK = 200
MOST, NEAREST = 1000, 5  # items that are decoded and encoded again, and how many of their neighbours count

KEY_OF_ELBO = "elbo_better_than_zero"
# Each number in words, and whether it is a share.
NAMES = {
    "log_likelihood_at_zero": ("log density of the decoder with z = 0", False),
    "latent_gain": ("what the latent adds to that log density", False),
    KEY_OF_ELBO: ("ELBO against the decoder with z = 0", True),
    "found_again": ("decoded, encoded again and found", True),
    "ended": ("decoded greedily to an end of their own", True),
}


def number_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what each number is, and its value; [] if none was measured."""
    found = metrics.get(KEY, {})
    rows = [(words, rounded(found[name], 2, share)) for name, (words, share) in NAMES.items() if name in found]
    return [(words, _compared(found[KEY_OF_ELBO]) if words == NAMES[KEY_OF_ELBO][0] else value) for words, value in rows]


def _compared(share: float) -> str:
    """Return in words whether the ELBO is better than what the decoder reaches with z = 0, and by how much."""
    return f"{rounded(abs(share), 2, True)} {'better' if share >= 0 else 'worse: the latent costs more than it adds'}"


@torch.no_grad()
def sequence_numbers(vae: VAE, rows: Tensor, spec: Any, log_likelihood: float, elbo: float) -> dict[str, float]:
    """Return numbers of test rows, (N, T, ...). `log_likelihood` and `elbo` are their means, in nats.

    `spec` is the preprocessing of the model.
    """
    empty = without_latent(vae, rows)
    return {
        "log_likelihood_at_zero": empty,
        "latent_gain": log_likelihood - empty,
        "elbo_better_than_zero": (elbo - empty) / abs(empty),
        **found_again(vae, rows[:MOST], spec),
    }


def protocol(rows: int) -> str:
    """Return how these numbers were measured. `rows`: how many test items there are."""
    some = min(MOST, rows)
    return (
        "log_likelihood_at_zero: the same decoder with z = 0; elbo_better_than_zero: the difference of the ELBO "
        f"from it, as a share of its size. found_again: {some:,} test items are encoded, their mu decoded greedily, written "
        f"as raw data and encoded again; the share whose own mu is among the {NEAREST} nearest of all {some:,} by L2. ended: "
        "the share of these that come to an end by themselves"
    )


def without_latent(vae: VAE, rows: Tensor) -> float:
    """Return the mean log likelihood of rows if every latent is 0, in nats."""
    device = next(vae.parameters()).device
    total = 0.0
    for block in rows.split(BLOCK):
        x = vae.kind.to_x(vae.kind.cut(block.to(device)))
        z = torch.zeros(len(x), vae.config.latent_dim, device=device)
        total += float(vae.decode(z).log_prob(x).sum(dtype=torch.float64))
    return total / len(rows)


def found_again(vae: VAE, rows: Tensor, spec: Any) -> dict[str, float]:
    """Return the share of rows that are found by what their own latent decodes to, and of those that end by themselves."""
    device = next(vae.parameters()).device
    mu, again, ended = [], [], 0
    for block in rows.split(BLOCK):
        own = vae.encode(vae.kind.cut(block.to(device))).mu
        decoded = vae.decode(own).mean
        lengths = vae.kind.lengths(decoded)
        ended += 0 if lengths is None else int((lengths < decoded.shape[1]).sum())
        items = spec.items(decoded.cpu().numpy())
        some = [i for i, item in enumerate(items) if item]  # Empty ones cannot be encoded, and find nothing.
        shown = torch.full_like(own, torch.inf)
        if some:
            written = torch.from_numpy(spec.rows([items[i] for i in some])).to(device)
            shown[some] = vae.encode(written).mu
        mu.append(own)
        again.append(shown)
    distances = torch.cdist(torch.cat(again).double(), torch.cat(mu).double(), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(min(NEAREST, len(rows)), largest=False).indices  # (N, k)
    own_place = torch.arange(len(rows), device=device)[:, None]
    found = (nearest == own_place).any(1) & distances.isfinite().any(1)
    return {"found_again": float(found.float().mean()), "ended": ended / len(rows)}
