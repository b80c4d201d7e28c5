"""python -m models.evaluate PATH: the numbers of a model into metrics.json, its pictures and its card beside it.

Every number stands with its protocol. Nats are per picture, on the test split; the test pictures are binarised once with a
fixed seed when the model was trained on binarised ones.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models import arguments, card, report
from models.checkpoint import Checkpoint, CheckpointError, read, write_atomically
from models.data import Pictures, Splits, load_data
from models.devices import DeviceError, choose_device
from models.distributions import DiagonalGaussian
from models.download import DataError
from models.folder import FolderOptions
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.vae import VAE, to_unit_interval

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, arXiv:1509.00519, section 5.2
NEIGHBORS = 5


def evaluate(checkpoint: Checkpoint, splits: Splits, samples: int, seed: int, device: torch.device) -> dict[str, Any]:
    """Every number of the card. `samples` is the K of the importance-weighted bound; `seed` binarises and samples."""
    vae, data = checkpoint.vae.to(device), checkpoint.manifest.data
    binarized = data.get("binarize") == "dynamic"
    x = to_unit_interval(splits.test.x.to(device))
    noise = torch.Generator(device).manual_seed(seed)
    if binarized:
        x = torch.bernoulli(x, generator=noise)
    bounds = likelihood_bounds(vae, x, samples, noise)
    greys = posterior_means(vae, splits.test.x, device)
    variance = greys.var(0)
    metrics: dict[str, Any] = {
        "elbo": float(bounds["elbo"].mean()),
        "log_likelihood": float(bounds["log_likelihood"].mean()),
        "kl": float(bounds["kl"].mean()),
        "iwae_nll": float(-bounds["iwae"].mean()),
        "iwae_nll_standard_error": float(bounds["iwae"].std() / len(x) ** 0.5),
        "ess_mean": float(bounds["ess"].mean()),
        "active_units": int((variance > ACTIVE_VARIANCE).sum()),
        "kl_per_dim": [round(value, 4) for value in bounds["kl_per_dim"].mean(0).tolist()],
        "protocol": {
            "unit": "nats per picture, sums over pixels and dimensions, mean over pictures",
            "pixels": f"0/1, each drawn once with its grey as probability, seed {seed}" if binarized else "greys in [0, 1]",
            "split": f"test, {len(x)} pictures",
            "iwae_samples": samples,
            "seed": seed,
            "active_units": f"variance over the test split of mu above {ACTIVE_VARIANCE} (grey pixels)",
        },
    }
    if splits.train.labels is not None and splits.test.labels is not None:
        references = posterior_means(vae, splits.train.x, device)
        predicted = nearest_labels(references, splits.train.labels.to(device), greys)
        metrics["knn_accuracy"] = float((predicted == splits.test.labels.to(device)).float().mean())
        metrics["protocol"]["knn_accuracy"] = (
            f"majority of the {NEIGHBORS} nearest by L2 on mu, grey pixels; references: training split, queries: test split"
        )
    return metrics


@torch.no_grad()
def likelihood_bounds(vae: VAE, x: Tensor, samples: int, noise: torch.Generator) -> dict[str, Tensor]:
    """Per picture: the one-sample ELBO and its log likelihood, KL of each dimension, the K-sample bound and its ESS."""
    found: dict[str, list[Tensor]] = {}
    dim = vae.config.latent_dim
    for block in tqdm(x.split(64), f"{samples}-sample bound", unit="block", disable=None):
        eps = torch.randn(samples, len(block), dim, generator=noise, device=x.device)
        terms = evidence_lower_bound(vae, block, eps[0])
        posterior = vae.encode(block)
        bound = importance_weighted_bound(vae, block, eps)
        for name, values in (
            ("elbo", terms.elbo),
            ("log_likelihood", terms.log_likelihood),
            ("kl", terms.kl),
            ("kl_per_dim", posterior.kl_per_dim(DiagonalGaussian.standard(posterior.mu))),
            ("iwae", bound.log_prob),
            ("ess", bound.ess),
        ):
            found.setdefault(name, []).append(values)
    return {name: torch.cat(values).double() for name, values in found.items()}


@torch.no_grad()
def posterior_means(vae: VAE, x: Tensor, device: torch.device) -> Tensor:
    """mu of pictures as they are: uint8 (N, C, H, W) -> (N, D)."""
    return torch.cat([vae.encode(block.to(device)).mu for block in x.split(1024)])


def nearest_labels(references: Tensor, labels: Tensor, queries: Tensor, neighbors: int = NEIGHBORS) -> Tensor:
    """Majority label of the nearest references by L2; of equally frequent labels the one with the nearest member."""
    far, predictions = references.double(), []
    for block in queries.split(500):
        # differences, in float64: the faster way by matrix products loses what tells near neighbours apart
        distances = torch.cdist(block.double(), far, compute_mode="donot_use_mm_for_euclid_dist")  # (b, N)
        nearest = distances.topk(min(neighbors, len(far)), largest=False).indices  # (b, k), nearest first
        found = labels[nearest]
        votes = (found[:, :, None] == found[:, None, :]).sum(2)  # of each neighbour's label
        predictions.append(found.gather(1, votes.argmax(1, keepdim=True)).squeeze(1))
    return torch.cat(predictions)


def load_splits(checkpoint: Checkpoint, args: argparse.Namespace) -> Splits:
    """The data that the checkpoint names, or what --data says. Raises DataError."""
    spec, name = checkpoint.manifest.preprocessing, args.data or checkpoint.manifest.data.get("name")
    if not name:
        raise DataError("the checkpoint does not name its data: say --data")
    corrupt = checkpoint.manifest.data.get("training", {}).get("max_corrupt", FolderOptions.max_corrupt)
    options = FolderOptions((spec.height, spec.width), spec.channels, spec.fit, spec.filter, corrupt)
    splits = load_data(name, args.data_dir, options, args.mirror)
    if tuple(splits.test.x.shape[1:]) != checkpoint.vae.config.shape:
        raise DataError(
            f"{name} has pictures of {tuple(splits.test.x.shape[1:])}, the model takes {checkpoint.vae.config.shape}"
        )
    return splits


def _shorten(pictures: Pictures, limit: int | None) -> Pictures:
    return pictures if limit is None else pictures[:limit]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with the reason."""
    parser = argparse.ArgumentParser("python -m models.evaluate", description="Measure a checkpoint on its test split.")
    parser.add_argument("path", type=Path, help="checkpoint directory")
    parser.add_argument("--data", help="data set (default: the one that it was trained on)")
    arguments.add_data_flags(parser)
    parser.add_argument(
        "--samples", type=arguments.at_least(1), default=500, help="K of the importance-weighted bound (default: %(default)s)"
    )
    parser.add_argument("--limit", type=arguments.at_least(2), help="only the first N test pictures")
    parser.add_argument("--seed", type=int, default=0, help="of binarisation and samples (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        checkpoint = read(args.path)
        splits = load_splits(checkpoint, args)
        splits = Splits(splits.train, _shorten(splits.test, args.limit))
        metrics = evaluate(checkpoint, splits, args.samples, args.seed, choose_device(args.device))
        write_atomically(args.path / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
        pictures = report.write_pictures(args.path, checkpoint.vae.cpu(), splits.test)
        card.write_card(args.path, checkpoint.manifest, metrics, pictures)
    except (CheckpointError, DataError, DeviceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({name: value for name, value in metrics.items() if name != "kl_per_dim"}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
