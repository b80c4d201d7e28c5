"""Compute all numbers of a card, each with its protocol: bounds, latents, fitted prior, nearest neighbours, factors.

Knows nothing of files or of the command line.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models import aggregate, kl_range
from models.checkpoint import Checkpoint
from models.condition import blocks
from models.data import Items, Splits, class_names, hold_out, rows_of
from models.data.clusters import clusters
from models.distributions import DiagonalGaussian, StandardGaussian
from models.evaluate import agreement, densities, diagnostics, factors, information, neighbors
from models.evaluate.bounds import likelihood_bounds
from models.evaluate.kinds import measuring_for
from models.evaluate.progress import followed
from models.metric_choice import NEIGHBORS, majority
from models.metrics_file import REASONS
from models.mixture import ComponentLabels, FittedPrior, GaussianMixture
from models.priors import NAMES
from models.readers.holding_out import HoldOut
from models.train.run_directory import data_digest
from models.vae import VAE

PRIOR_DRAWS = 10_000


def evaluate(
    checkpoint: Checkpoint,
    splits: Splits,
    samples: int,
    seed: int,
    device: torch.device,
    prior: FittedPrior | None = None,
) -> dict[str, Any]:
    """Return all numbers. `samples` is the K of the importance-weighted bound; `seed` is for binarisation and samples.

    `prior` is the fitted prior to compare with the trained prior.
    """
    vae, data = checkpoint.vae.to(device), checkpoint.manifest.data
    of = vae.kind
    measuring = measuring_for(of)
    raw = measuring.raw(vae)
    noise = torch.Generator(device).manual_seed(seed)
    x = measuring.prepared(vae, splits.test.x.to(device), data, noise)
    told = splits.test.condition
    bounds = likelihood_bounds(vae, x, samples, noise, None if prior is None else prior.mixture, _on(told, device))
    greys = posteriors(vae, splits.test.x, device, told)
    rate = float(bounds["kl"].mean())
    log_likelihood = float(bounds["log_likelihood"].mean())
    metrics: dict[str, Any] = {
        "elbo": float(bounds["elbo"].mean()),
        "log_likelihood": log_likelihood,
        "kl": rate,
        "rate": rate,
        "distortion": -log_likelihood,
        "iwae_nll": float(-bounds["iwae"].mean()),
        "iwae_nll_standard_error": float(bounds["iwae"].std() / len(x) ** 0.5),
        "ess_mean": float(bounds["ess"].mean()),
        "active_units": int(diagnostics.active_units(greys.mu).sum()),
        "kl_per_dim": [round(value, 4) for value in bounds["kl_per_dim"].mean(0).tolist()],
        kl_range.KEY: kl_range.measured(standard_kl(greys).cpu().numpy()),
        **latent_numbers(vae, posteriors(vae, x, device, told), seed, bounds, None if prior is None else prior.mixture),
        "protocol": {
            "unit": f"nats per {of.noun}, sums over {measuring.parts} and dimensions, mean over {of.many}"
            + (f"; all given the {vae.config.condition.key} of each {of.noun}" if vae.config.condition else ""),
            "kind": measuring.nats(vae, x),
            "pixels": measuring.values(vae, data, seed),
            "split": f"test, {len(x)} {of.many}",
            "iwae_samples": samples,
            "seed": seed,
            kl_range.KEY: kl_range.PROTOCOL,
            "active_units": f"variance over the test split of mu above {diagnostics.ACTIVE_VARIANCE} ({raw})",
            "mutual_information": f"{information.PROTOCOL}; N = {len(x)}",
            "prior_coverage": (
                f"share of {PRIOR_DRAWS} draws of {NAMES[vae.config.prior]} at which q(z), the mixture of the test "
                "pictures' posteriors, is above the 5 % quantile of its own draws (each without its own picture's posterior): "
                "95 % where the prior and q(z) are the same"
            ),
        },
    }
    protocol = metrics["protocol"]
    if prior is not None:
        protocol["told_apart"] = information.APART_PROTOCOL
        metrics["aggregate_prior"] = mixture_numbers(bounds, prior.mixture) | prior.fitted
        protocol["aggregate_prior"] = (
            "Gaussian mixture fitted by EM to draws from the training pictures' posteriors, its number of components chosen "
            "by the likelihood of draws from the validation pictures'; the bound uses the same pictures and the same draws"
            + ("" if prior.labels is None else "; the union of one mixture per label, weighted by the labels' frequencies")
        )
    training = data.get("training", {})
    found = measuring.densities(vae, splits.test.x.to(device), metrics, data, seed, _on(told, device))
    if found:
        metrics["densities"], protocol["densities"] = found, densities.PROTOCOL
    if data.get("digest") == data_digest(splits.train.x):  # Other data have no pictures on which the weights were chosen.
        rows, validation = None, splits.validation
        if validation is None:
            rows, held_out = rows_of(splits.train, *training_choice(training))
            validation = splits.train[held_out]
        noise.manual_seed(seed)
        y = measuring.prepared(vae, validation.x.to(device), data, noise)
        kind = training_choice(training)[2]
        trained = splits.train if rows is None else splits.train[rows]
        each = None if kind == "random" else (clusters(kind, validation, trained), clusters(kind, splits.test, trained))
        own = _on(validation.condition, device)
        metrics["agreement"] = {**agreement.compare(vae, y, bounds["elbo"], noise, each, own), "held_out": kind}
        metrics["agreement"]["near_duplicates"] = agreement.repeated(splits.train, rows, validation, splits.test, of)
        protocol["agreement"] = agreement.protocol(of)
    if splits.train.labels is not None and splits.test.labels is not None:
        known, labels = splits.train.labels.to(device), splits.test.labels.to(device)
        references = posteriors(vae, splits.train.x, device, splits.train.condition)
        predicted = nearest_labels(references.mu, known, greys.mu)
        metrics["knn_accuracy"] = float((predicted == labels).float().mean())
        protocol["knn_accuracy"] = (
            f"majority of the {NEIGHBORS} nearest by L2 on mu, {raw}; references: training split, queries: test split"
        )
        choice = checkpoint.manifest.search
        metrics[neighbors.KEY] = {
            **neighbors.metric_numbers(choice, references, known, greys, labels),
            **measuring.nearest(splits, device),
        }
        protocol[neighbors.KEY] = neighbors.protocol(choice, raw, len(splits.train), splits.validation is None)
    numbers, how = measuring.more(vae, splits, metrics, data, prior, seed, device)
    metrics |= numbers
    protocol |= how
    if splits.test.factors:
        known_mu = posteriors(vae, splits.train.x, device, splits.train.condition).mu
        metrics["factors"] = factor_numbers(known_mu, splits.train, greys, splits.test, seed)
        protocol["factors"] = (
            "MIG: Chen et al. 2018, draws from and mixtures of the test pictures' posteriors; SAP: Kumar et al. 2018, 20 "
            "quantile bins of one mu; DCI: Eastwood & Williams 2018, L1-penalised multinomial logistic regression on mu; "
            "SAP and DCI learn on the training split and are scored on the test split"
        )
        if constant := factors.constant(splits.test.factors):
            protocol["factors"] += f"; MIG is without {', '.join(constant)}, the same in all test pictures"
        if len(constant) == len(splits.test.factors):
            protocol[REASONS] = {"factors.mig": "no labelled factor varies among the test pictures"}
    if of.name != "picture":
        said = {name: words for name, words in protocol.items() if isinstance(words, str) and name != "left_out"}
        protocol |= {name: of.worded(words) for name, words in said.items()}
    return metrics


@torch.no_grad()
def latent_numbers(
    vae: VAE, posterior: DiagonalGaussian, seed: int, bounds: dict[str, Tensor], mixture: GaussianMixture | None
) -> dict[str, Any]:
    """Return brackets of the mutual information and of KL(q(z) || N(0, I)).

    With a fitted mixture, also the coverage of the model's prior, and how often its draws are recognised as such:
    coverage alone looks good for a prior that is far too wide.
    """
    device = posterior.mu.device
    noise = torch.Generator(device).manual_seed(seed)
    eps = torch.randn(posterior.mu.shape, generator=noise, device=device)
    prior_eps = torch.randn(PRIOR_DRAWS, eps.shape[1], generator=noise, device=device)
    rates = [float(bounds[name].mean()) for name in ("kl", "mixture_kl") if name in bounds]
    numbers: dict[str, Any] = {**information.brackets(diagnostics.rate_of_aggregate(posterior, eps), len(eps), rates)}
    if mixture is not None:
        draws = vae.prior(prior_eps).sample(prior_eps)
        numbers["prior_coverage"] = diagnostics.prior_coverage(posterior, eps, draws)
        numbers["told_apart"] = information.told_apart(posterior, eps, vae.prior(eps[:1]), draws, mixture.to(device))
    return numbers


def mixture_numbers(bounds: dict[str, Tensor], mixture: GaussianMixture) -> dict[str, Any]:
    """Return the bound with the mixture as the prior, and its gain over the trained prior, paired by picture."""
    gain = bounds["mixture_iwae"] - bounds["iwae"]
    return {
        "components": len(mixture),
        "covariance": mixture.covariance,
        "iwae_nll": float(-bounds["mixture_iwae"].mean()),
        "iwae_nll_standard_error": float(bounds["mixture_iwae"].std() / len(gain) ** 0.5),
        "gain": float(gain.mean()),
        "gain_standard_error": float(gain.std() / len(gain) ** 0.5),
        "ess_mean": float(bounds["mixture_ess"].mean()),
        "rate": float(bounds["mixture_kl"].mean()),
    }


def factor_numbers(references: Tensor, train: Items, greys: DiagonalGaussian, test: Items, seed: int) -> dict[str, Any]:
    """Return MIG, SAP and DCI of the labelled factors. `references` are the mu of the training pictures."""
    known = {name: values.to(greys.mu.device) for name, values in test.factors.items()}
    learnt = {name: values.to(greys.mu.device) for name, values in train.factors.items()}
    noise = torch.Generator(greys.mu.device).manual_seed(seed)
    eps = torch.randn(greys.mu.shape, generator=noise, device=greys.mu.device)
    dci = factors.disentanglement(references, learnt, greys.mu, known)
    return {
        "names": list(known),
        "mig": factors.mutual_information_gap(greys, known, eps),
        "sap": factors.attribute_gap(references, learnt, greys.mu, known),
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": dci.informativeness,
    }


def fit_prior(
    checkpoint: Checkpoint,
    train: Items,
    covariance: aggregate.Covariance,
    candidates: tuple[int, ...],
    seed: int,
    device: torch.device,
    validation: Items | None = None,
) -> FittedPrior:
    """Fit a mixture to the posteriors of the training split without its validation part, label by label if it has labels.

    `validation` is given if the data set has a validation split of its own.
    """
    binarize = checkpoint.manifest.data.get("binarize") == "dynamic"
    share, split_seed, kind = training_choice(checkpoint.manifest.data.get("training", {}))
    parts = hold_out(train, share, split_seed, kind=kind) if validation is None else (train, validation)
    vae, (fitting, held_out) = checkpoint.vae.to(device), (part.x.to(device) for part in parts)
    names = class_names(checkpoint.manifest.data)
    told = _on(parts[0].condition, device), _on(parts[1].condition, device)
    own = None if vae.config.condition else parts[0].labels
    fit, record = aggregate.fit_prior(vae, fitting, held_out, covariance, candidates, seed, binarize, own, names, told)
    if tuple(candidates) != aggregate.CANDIDATES:
        record["candidates"] = list(candidates)
    labels = None if fit.labels is None else ComponentLabels.named(fit.labels, names)
    return FittedPrior(fit.mixture, record, labels)


def training_choice(training: Mapping[str, Any]) -> tuple[float | None, int, HoldOut]:
    """Return share, seed and kind of the pictures that training held out for validation."""
    return training.get("validation", 0.05), training.get("seed", 0), training.get("validation_split", "random")


@torch.no_grad()
def posteriors(vae: VAE, x: Tensor, device: torch.device, condition: Tensor | None = None) -> DiagonalGaussian:
    """Return the posteriors of rows as they are, pictures not binarised: (N, ...) -> (N, D).

    `condition`: what a conditional model is told about each, int64 (N,).
    """
    told = _on(condition, device)
    each = list(blocks(vae, x, told, 1024))
    parts = [
        own.encode(vae.kind.cut(block).to(device)) for own, block in followed(each, "posteriors", [len(b) for _, b in each])
    ]
    return DiagonalGaussian(torch.cat([p.mu for p in parts]), torch.cat([p.logvar for p in parts]))


def _on(values: Tensor | None, device: torch.device) -> Tensor | None:
    return None if values is None else values.to(device)


def standard_kl(posterior: DiagonalGaussian) -> Tensor:
    """Return KL(q, N(0, I)) of each picture in nats, float64 (N,), as the service reports it, whatever prior the model has."""
    zeros = torch.zeros_like(posterior.mu, dtype=torch.float64)
    return DiagonalGaussian(posterior.mu.double(), posterior.logvar.double()).kl(StandardGaussian(zeros, zeros))


def nearest_labels(references: Tensor, labels: Tensor, queries: Tensor, neighbors: int = NEIGHBORS) -> Tensor:
    """Return the majority label of the nearest references by L2; a tie goes to the label of the nearest one."""
    parts = nearest_rows(references, queries, neighbors).split(500)
    return torch.cat([majority(labels[nearest]) for nearest in parts])


def nearest_rows(references: Tensor, queries: Tensor, neighbors: int) -> Tensor:
    """Return the indices of the nearest references by L2, nearest first: (N, D), (M, D) -> (M, k)."""
    far, found = references.double(), []
    for block in queries.split(500):
        # Exact differences in float64, because the faster matrix products lose the digits that separate near neighbours.
        distances = torch.cdist(block.double(), far, compute_mode="donot_use_mm_for_euclid_dist")  # (b, N)
        found.append(distances.topk(min(neighbors, len(far)), largest=False).indices)
    return torch.cat(found)
