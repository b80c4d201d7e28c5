"""Choose the number of latent dimensions from the data: train a few steps with many, and keep what carries information.

A latent too many costs little, because training switches it off, and one too few costs nats. Knows nothing of files.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models.condition import Condition, blocks
from models.objective import evidence_lower_bound
from models.train.gradients import Gradients
from models.train.kinds import training_for
from models.train.losses import Loss, detached
from models.train.model_flags import model_config
from models.train.ranks import ALONE, Ranks
from models.train.share import Share
from models.vae import VAE

LATENTS = 20  # for runs without a trial
TRIAL = "a trial"  # the first words of the reason for what a trial chose
MOST = 128  # latent dimensions of the trial, and the most that is chosen
# The trial takes this share of the run's steps, at most MOST_STEPS. Its steps are slower by up to a third.
SHARE, LEAST_STEPS, MOST_STEPS = 0.07, 50, 1000
MEASURED = 2000  # items, on which the axes are counted
# A quarter more than what the trial counts, and then the next multiple of STEP: the trial counts by another measure than a
# long run, and may count more or less, and a spare dimension is cheap.
MARGIN, STEP = 1.25, 8
# A trial of fewer steps than SHORT counts too few. Of 1,400 emoji it found 18 after 141 steps; with 24, 40 and 64 latents
# their test ELBO became 1582, 1742 and 1762 nats.
SHORT, SHORT_MARGIN = 200, 2.0
ACTIVE_VARIANCE = 0.01  # of mu over items, above which a dimension is active: Burda et al. 2016, arXiv:1509.00519, section 5.2

Told = tuple[Condition, Tensor]  # a condition, and the index of the value of each item, int64 (N,)


def trial_steps(steps: int) -> int:
    """Return how many steps the trial of a run takes, 0 if the run is too short for one."""
    share = min(MOST_STEPS, int(SHARE * steps))
    return share if share >= LEAST_STEPS else 0


def fill_in_latent_dim(
    args: argparse.Namespace,
    rows: Tensor,
    run_steps: int,
    spec: Any = None,
    told: Told | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Fill in --latent-dim if it was left open, and add the reason to `args.choices`.

    rows: (N, ...), `spec` is their preprocessing, None if they were rows already; `told` is for a conditional model.
    The processes of a run share the steps of the trial.

    A resumed run has it already.
    """
    of = training_for(args.data).kind
    if args.latent_dim:
        if args.latent_dim > (values := rows[0].numel()):
            tqdm.write(f"warning: --latent-dim {args.latent_dim} is more than the {values} values of {of.one}")
        return
    steps = trial_steps(run_steps)
    if args.objective in ("autoencoder", "kl-only"):
        args.latent_dim, reason = LATENTS, f", the default for --objective {args.objective}"
    elif not steps:
        args.latent_dim, reason = LATENTS, f", the default, because {run_steps} steps are too few for a trial"
    else:
        args.latent_dim, found = by_trial(args, rows, steps, spec, told, ranks)
        reason = f": {found}"
    args.choices["latent dimensions"] = f"{args.latent_dim} latent dimensions{reason}"


def is_by_trial(choices: Mapping[str, str]) -> bool:
    """Return whether a trial chose the number of latent dimensions."""
    return choices.get("latent dimensions", "").partition(": ")[2].startswith(TRIAL)


def by_trial(
    args: argparse.Namespace,
    rows: Tensor,
    steps: int,
    spec: Any = None,
    told: Told | None = None,
    ranks: Ranks = ALONE,
) -> tuple[int, str]:
    """Return the number of latent dimensions that a trial of so many steps finds, and the reason.

    Measured with the nets of the defaults and MOST latents after 160 and 400 steps: 19 and 34 principal axes on MNIST, 13 and
    23 on Fashion-MNIST, 74 and 95 on new drawings. Burda's count is another one: after long runs with 40 latents, 24 and 27 of
    them are active on MNIST and Fashion-MNIST, and drawings need more than 40.
    """
    most, of = min(MOST, rows[0].numel()), training_for(args.data).kind
    tqdm.write(f"trial: {steps} steps with {most} latent dimensions, to count how many the {of.many} need")
    mu = _trained_means(args, rows, steps, most, spec, told, ranks)
    active = active_axes(mu)
    wanted = (SHORT_MARGIN if steps < SHORT else MARGIN) * active
    more = "twice as many, because so few steps find too few," if steps < SHORT else "a quarter more"
    rounded = STEP * math.ceil(max(1, wanted) / STEP)
    dim = min(most, rounded)
    next_one = f", and the next multiple of {STEP} is {rounded}" if rounded != wanted else ""
    capped = f", but a trial chooses at most {most}" if dim < rounded else ""
    return dim, (
        f"{TRIAL} of {steps} steps found {active} that matter (principal axes of mu whose variance is above "
        f"{ACTIVE_VARIANCE}); {more} is {wanted:g}{next_one}{capped}"
    )


def active_axes(mu: Tensor) -> int:
    """Return how many principal axes of mu, (N, D), have a variance above Burda's threshold.

    After a few steps each axis of the latents knows a little of the same few things, so that all of them would count as
    active; the principal axes do not depend on how the net has turned the latent space.
    """
    return int((torch.linalg.eigvalsh(torch.atleast_2d(torch.cov(mu.double().T))) > ACTIVE_VARIANCE).sum())


def _trained_means(
    args: argparse.Namespace,
    items: Tensor,
    steps: int,
    dim: int,
    spec: Any,
    told: Told | None = None,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Train the run's net with `dim` latents on the ELBO and N(0, I), and return mu of some items, (n, dim).

    The global generator is left as the seed sets it, so that the run does not depend on whether there was a trial.
    """
    trial = argparse.Namespace(**{**vars(args), "latent_dim": dim, "prior": "standard"})
    training = training_for(args.data)
    device, beta = items.device, args.beta if args.objective == "elbo" else 1.0
    condition, labels = told or (None, None)
    vae = VAE(model_config(trial, items, spec, condition)).to(device)
    training.place(vae)
    training.start(vae, args, items)
    optimizer = torch.optim.Adam(vae.parameters(), lr=args.lr, eps=args.adam_eps, fused=True)
    noise = torch.Generator(device).manual_seed(args.seed)
    share = Share(min(args.batch_size, len(items)), ranks)
    share.place(vae)
    gradients = Gradients(optimizer, share)
    bf16 = training.bf16 and (args.precision == "bf16" or (args.precision == "auto" and device.type == "cuda"))
    ranks.in_steps = True
    for _ in tqdm(range(steps), f"trial with {dim} latent dimensions", unit="step", disable=None, leave=False):
        rows = torch.randint(len(items), (share.batch_size,), generator=noise, device=device)
        x = share.own(training.prepare(trial, items[rows], noise))
        eps = share.own(torch.randn(share.batch_size, dim, generator=noise, device=device))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            terms = evidence_lower_bound(vae.given(None if labels is None else share.own(labels[rows])), x, eps)
        loss = (beta * terms.kl - terms.log_likelihood).mean()
        optimizer.zero_grad()
        gradients.backward(Loss(loss, detached(terms)))
        own = torch.nn.utils.get_total_norm([one.grad for one in vae.parameters() if one.grad is not None])
        norm = own.new_tensor(gradients.norm(float(own)))
        torch.nn.utils.clip_grads_with_norm_(vae.parameters(), args.clip, norm)
        if torch.isfinite(norm):
            optimizer.step()
            gradients.updated()
    ranks.in_steps = False
    vae.eval()
    with torch.no_grad():
        every = max(1, len(items) // MEASURED)
        known = None if labels is None else labels[::every]
        mu = torch.cat([own.encode(vae.kind.cut(block)).mu for own, block in blocks(vae, items[::every], known, 512)])
    torch.manual_seed(args.seed)
    return torch.nan_to_num(mu)
