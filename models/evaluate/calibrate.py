"""Make the calibration of a model: scores of pictures that the net never trained on, and which separate strangers best.

Knows nothing of the command line. `models.calibration` has the file, `models.scores` the formulae.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import regret, scores
from models.calibration import MOST_LATENTS, Calibration, rounded, smallest_p
from models.checkpoint import Checkpoint
from models.condition import blocks, in_turn
from models.data import Items, Splits, class_names
from models.evaluate import among_others
from models.evaluate.held_out import given_split, held_out_split
from models.evaluate.kinds import measuring_for
from models.evaluate.progress import followed
from models.evaluate.strangers import auroc, uniformity
from models.scores import Array, TrainingLatents
from models.vae import VAE

# Scores of which the default is chosen: each costs less than the encoder. At least one of each kind is taken, so that neither
# a well-drawn picture with a strange latent nor a badly drawn one with a usual latent passes.
LATENT_SCORES = ("knn", "density")
MOST_DEFAULT = 3
NEGLIGIBLE = 0.002  # a difference of mean AUROCs that is not worth the time of `density`
BANDWIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # multiples of median nearest-neighbour distance / sqrt(D)
LEAST_BANDWIDTH = 1e-3
# Most held-out and test pictures that are scored, and most pictures of each kind of stranger.
MOST_HELD_OUT, MOST_TEST, MOST_STRANGERS = 10_000, 2000, 1000
# The same for the scores that need many decoded latents, and for regret, which takes as long as 170 of them.
MOST_BOUNDS, MOST_BOUND_STRANGERS = 1200, 100
MOST_REGRETS, MOST_REGRET_STRANGERS = 200, 25
# With fewer held-out pictures, p-values are coarse.
FEW = 500
BLOCK, REGRET_BLOCK = 256, 25
REGRET_COST = 170  # in decoded latents, for the estimate of the time


@torch.inference_mode()
def posteriors_of(vae: VAE, items: Items, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mu and sigma of items as the service sees them, pictures not binarised: (N, D) each."""
    each = list(blocks(vae, items.to(device).x, on(items, device), BLOCK))
    told = followed(each, "latents", [len(block) for _, block in each])
    parts = [own.encode(vae.kind.cut(block)) for own, block in told]
    mu, sigma = (torch.cat(part).float().cpu().numpy() for part in zip(*((q.mu, q.sigma) for q in parts), strict=True))
    return mu, sigma


@dataclass(frozen=True)
class Scorer:
    """Computes all scores of pictures, with draws of z from a seed."""

    vae: VAE  # on the device, in evaluation mode
    latents: TrainingLatents
    device: torch.device
    seed: int

    @torch.inference_mode()
    def __call__(
        self, x: Tensor, what: str, bounds: int = 0, regrets: int = 0, condition: Tensor | None = None
    ) -> dict[str, Array]:
        """Return each score so that larger is more unusual: uint8 (N, C, H, W) -> name -> (N,).

        `condition`: what a conditional model is told about each picture, int64 (N,). `what`: the pictures, for the user.

        elbo and iwae are those of the first `bounds` pictures only, regret that of the first `regrets`.
        """
        noise, found = torch.Generator().manual_seed(self.seed), dict[str, list[Array]]()
        whole = Items(x, condition=condition)
        steps: list[tuple[Callable[[Items, torch.Generator], dict[str, Array]], Items, int]] = []
        for first in range(0, len(x), BLOCK):
            block = whole[first : first + BLOCK]
            few = block[: max(0, regrets - first)]
            steps += [(self._cheap, block, 1), (self._bounds, block[: max(0, bounds - first)], scores.SAMPLES)]
            steps += [(self._regret, few[at : at + REGRET_BLOCK], REGRET_COST) for at in range(0, len(few), REGRET_BLOCK)]
        told = followed(steps, f"scores of {what}", [len(block) * cost for _, block, cost in steps])
        for name, values in (one for step, block, _ in told for one in step(block, noise).items()):
            found.setdefault(name, []).append(scores.unusual(name, values))
        return {name: np.concatenate(values) for name, values in found.items()}

    def _given(self, block: Items) -> VAE:
        """Return the model that knows the labels of items."""
        return self.vae.given(on(block, self.device))

    def _cheap(self, block: Items, _: torch.Generator) -> dict[str, Array]:
        vae = self._given(block)
        posterior = vae.encode(vae.kind.cut(block.x).to(self.device))
        mu = posterior.mu.cpu().numpy()
        latent = {"knn": self.latents.knn_distance(mu), "density": -self.latents.log_density(mu)}
        return latent | measuring_for(vae.kind).item_scores(vae, block.x, posterior)

    def _bounds(self, block: Items, noise: torch.Generator) -> dict[str, Array]:
        if not len(block):
            return {}
        vae = self._given(block)
        posterior, weights = vae.encode(vae.kind.cut(block.x).to(self.device)), []
        for _ in range(scores.SAMPLES):
            z = posterior.sample(torch.randn(posterior.mu.shape, generator=noise).to(self.device))
            log_p = vae.prior(posterior.mu).log_prob(z) - posterior.log_prob(z)
            own = measuring_for(vae.kind).log_likelihood(vae, block.x, z)
            weights.append(own + log_p.double().cpu().numpy())
        each = np.stack(weights, 1)  # (N, K)
        return {"elbo": scores.mean_bound(each), "iwae": scores.importance_bound(each)[0]}

    def _regret(self, block: Items, noise: torch.Generator) -> dict[str, Array]:
        eps = torch.randn(regret.HELD + regret.STEPS, self.vae.config.latent_dim, generator=noise).to(self.device)
        x = self.vae.kind.to_x(self.vae.kind.cut(block.x).to(self.device))
        return {"regret": regret.regret(self._given(block), x, eps).cpu().numpy()}


def on(items: Items, device: torch.device) -> Tensor | None:
    """Return what a conditional model is told about items, on a device."""
    return None if items.condition is None else items.condition.to(device)


def calibrate(
    checkpoint: Checkpoint,
    splits: Splits,
    seed: int,
    device: torch.device,
    others: Mapping[str, Tensor] | None = None,
    given: str | None = None,
) -> Calibration:
    """Return the calibration of a model, made from the splits that it was trained with.

    `others` are pictures of other data sets, uint8 (N, C, H, W), by their names as --data takes them. They are measured, and
    choose nothing. `given` is the name of the splits' data set, if nobody recorded what the model was trained on. Raises
    DataError if there is no validation split, or if an earlier stage of the training may have seen it.
    """
    training, held_out, how = given_split(given, splits) if given else held_out_split(checkpoint.manifest.data, splits)
    noise = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(training), generator=noise)[:MOST_LATENTS]
    held_out = some(held_out, MOST_HELD_OUT, noise)
    vae = checkpoint.vae.to(device)
    mu, sigma = map(rounded, posteriors_of(vae, training[chosen], device))
    bandwidth, tried = choose_bandwidth(mu, sigma, posteriors_of(vae, held_out, device)[0])
    scorer = Scorer(vae, TrainingLatents(mu, sigma, bandwidth), device, seed)
    usual = scorer(held_out.x, "held-out pictures", MOST_BOUNDS, MOST_REGRETS, held_out.condition)
    sample = some(held_out, MOST_STRANGERS, noise)
    parts = MOST_BOUND_STRANGERS, MOST_REGRET_STRANGERS
    strangers = measuring_for(vae.kind).strangers(sample.x, seed)
    made = {kind: scorer(x, f"strangers, {kind}", *parts, sample.condition) for kind, x in strangers.items()}
    default, compared = choose_default(usual, made, measuring_for(vae.kind).default_scores)
    smallest = smallest_p({name: usual[name] for name in default})
    labels, names = None, tuple[str, ...]()
    if vae.config.condition and training.condition is not None:  # what the latents are decoded with
        labels, names = training.condition[chosen].numpy(), vae.config.condition.values
    elif training.labels is not None:
        labels = training.labels[chosen].numpy()
        known = splits.classes if given else class_names(checkpoint.manifest.data)
        names = tuple(known) if known else tuple(map(str, range(int(labels.max()) + 1)))
    sorted_scores = {name: np.sort(values) for name, values in usual.items()}
    found = Calibration(mu, sigma, bandwidth, default, sorted_scores, smallest, labels, names)
    kinds = {
        **made,
        **{
            name.partition(":")[2] or name: scorer(
                x[:MOST_STRANGERS], f"strangers, {name}", *parts, in_turn(vae.config.condition, len(x[:MOST_STRANGERS]))
            )
            for name, x in (others or {}).items()
        },
    }
    test = some(splits.test, MOST_TEST, noise)
    record = {
        **({"data": given} if given else {}),
        "seed": seed,
        "digest": checkpoint.digest,
        "held_out": {
            "pictures": {name: len(values) for name, values in usual.items()},
            "split": how,
            "smallest_p_value": found.least,
        },
        "training_latents": {
            "stored": len(chosen), "of": len(training), "choice": "drawn at random with the seed", "type": "float16",
        },
        "bandwidth": {"value": bandwidth, "held_out_log_density": tried},
        "samples": scores.SAMPLES,
        "default": {"scores": default, "mean_auroc": compared},
        "strangers": {"made": list(made), "other": list(others or {})},
        "auroc": aurocs(found, usual, kinds),
        "test": checked(found, scorer(test.x, "test pictures", condition=test.condition)),
    }  # fmt: skip
    return Calibration(mu, sigma, bandwidth, default, sorted_scores, smallest, labels, names, record)


def some(pictures: Items, most: int, noise: torch.Generator) -> Items:
    """Return at most so many pictures, drawn at random."""
    return pictures[torch.randperm(len(pictures), generator=noise)[:most]]


def choose_bandwidth(
    mu: NDArray[np.float32], sigma: NDArray[np.float32], held_out: NDArray[np.float32]
) -> tuple[float, dict[str, float]]:
    """Return the bandwidth with the best mean log density of held-out mu, (n, D), and that mean for each one tried."""
    nearest = TrainingLatents(mu, sigma, 0).knn_distance(mu[:1000], 2)  # the nearest is each latent itself
    scale = float(np.median(nearest)) / math.sqrt(mu.shape[1])
    tried = {max(LEAST_BANDWIDTH, factor * scale): 0.0 for factor in BANDWIDTHS}
    for bandwidth in tried:
        tried[bandwidth] = float(TrainingLatents(mu, sigma, bandwidth).log_density(held_out[:2000]).mean())
    best = max(tried, key=lambda bandwidth: tried[bandwidth])
    return best, {f"{bandwidth:.4f}": round(nats, 3) for bandwidth, nats in tried.items()}


def choose_default(
    usual: Mapping[str, Array], made: Mapping[str, Mapping[str, Array]], fixed: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return the cheap scores whose p-values together separate strangers best, and the mean AUROC of each choice, best first.

    The mean is over the kinds of strangers that were made from the model's own pictures. `density`, which takes about twice as
    long as `knn`, is chosen only if it is clearly better. `fixed` are taken whatever the others are.
    """
    held_out = {name: np.sort(values) for name, values in usual.items()}
    others = [name for name in usual if name not in (*LATENT_SCORES, *scores.BOUNDS, "regret")]
    possible = [fixed] if fixed else []
    for size in range(2, MOST_DEFAULT + 1):
        possible += itertools.combinations((*LATENT_SCORES, *others), size)
    found = {}
    for names in possible:
        if names == fixed or (set(names) & set(LATENT_SCORES) and set(names) & set(others)):
            known = -among_others.smallest(usual, names)
            each = [auroc(known, -smallest(held_out, values, names)) for values in made.values()]
            found[names] = sum(each) / len(each)
    order = sorted(found, key=lambda names: (-round(found[names], 4), len(names)))
    best = found[order[0]]
    chosen = next((names for names in order if "density" not in names and found[names] >= best - NEGLIGIBLE), order[0])
    return fixed or chosen, {" + ".join(names): round(found[names], 4) for names in order}


def smallest(held_out: Mapping[str, Array], values: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Return the smallest p-value of each picture among the named scores, (N,), before it is calibrated again."""
    found: Array = np.min([scores.conformal_p(held_out[name], values[name]) for name in names], axis=0)
    return found


def p_values(calibration: Calibration, values: Mapping[str, Array]) -> Array:
    """Return the overall p-value of scores, (N,)."""
    each = {name: scores.conformal_p(calibration.held_out[name], values[name]) for name in calibration.default}
    return calibration.overall(each)


def aurocs(
    calibration: Calibration, usual: Mapping[str, Array], kinds: Mapping[str, Mapping[str, Array]]
) -> dict[str, dict[str, float]]:
    """Return how well each score, and the overall p-value, separates each kind of stranger from held-out pictures."""
    known = among_others.p_values(usual, calibration.default)
    found = {"p_value": {kind: auroc(-known, -p_values(calibration, values)) for kind, values in kinds.items()}}
    for name in usual:
        found[name] = {kind: auroc(usual[name], values[name]) for kind, values in kinds.items()}
    return {name: {kind: round(value, 4) for kind, value in each.items()} for name, each in found.items()}


def checked(calibration: Calibration, test: Mapping[str, Array]) -> dict[str, Any]:
    """Return how far the p-values of test pictures are from uniform: Kolmogorov-Smirnov distance, and share up to 0.05."""
    p = p_values(calibration, test)
    count, held_out = len(p), len(calibration.smallest)
    return {
        "pictures": count,
        "distance": round(uniformity(p), 4),
        "distance_by_chance": round(1.36 * math.sqrt(1 / count + 1 / held_out), 4),
        "share_up_to_0.05": round(float((p <= 0.05).mean()), 4),
    }
