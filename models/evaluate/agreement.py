"""Compare the validation split with the test split: their ELBOs, and how far training repeats their pictures.

Where they disagree, the weights and sigma were chosen on pictures that do not stand for new ones.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.condition import blocks
from models.data import Items, near_duplicates
from models.evaluate import html as page
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.objective import evidence_lower_bound
from models.standard_error import clustered, told_error
from models.vae import VAE

# Splits disagree if the ELBOs differ by more than this share, and by more than so many standard errors.
SHARE, ERRORS = 0.05, 3.0
BLOCK = 256
# What the numbers about standard errors are called in the report, and their digits.
ERROR_ROWS = {
    "standard_errors": ("the same in standard errors", 1),
    "validation_error": ("standard error of the validation ELBO", 2),
    "validation_clusters": ("over so many pictures, blocks or groups", 0),
    "test_error": ("standard error of the test ELBO", 2),
    "test_clusters": ("over so many pictures, blocks or groups", 0),
}
# What the counts of `models.data.near_duplicates` are called in the report.
COUNTS = {
    "compared": "compared with training",
    "training": "against so many of training",
    "near": "nearly repeated in training",
    "adjacent": "that resemble a neighbour in the source most",
    "adjacent_by_chance": "of which by chance",
    "same_group": "of a group that is trained on",
}


@torch.no_grad()
def compare(
    vae: VAE,
    x: Tensor,
    test_elbo: Tensor,
    noise: torch.Generator,
    clusters: tuple[Tensor, Tensor] | None = None,
    condition: Tensor | None = None,
) -> dict[str, Any]:
    """Return the ELBO of the validation pictures x (N, C, H, W), and how it differs from that of the test, (M,).

    `clusters` are the blocks or groups of the pictures of both; `condition` is what a conditional model is told about x.
    """
    parts = []
    for own, block in blocks(vae, x, condition, BLOCK):
        eps = torch.randn(len(block), vae.config.latent_dim, generator=noise, device=x.device)
        parts.append(evidence_lower_bound(own, vae.kind.cut(block), eps).elbo)
    return difference(torch.cat(parts).double(), test_elbo, clusters)


def difference(validation: Tensor, test: Tensor, clusters: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
    """Return how the mean ELBOs of the two splits differ: (N,), (M,), float64.

    The standard errors are over `clusters`, see `models.standard_error`. With one cluster there are none. That of the
    difference counts what both splits have in a cluster as one, because they share blocks, which differ more than their turns.
    """
    of = clusters or (None, None)
    ours, theirs = clustered(validation, of[0]), clustered(test, of[1])
    gap, error = ours.value - theirs.value, None
    if ours.error is not None and theirs.error is not None:
        parts = [(validation - ours.value) / len(validation), (theirs.value - test) / len(test)]
        both = torch.cat(parts) * (len(validation) + len(test))
        error = clustered(both, torch.cat(clusters) if clusters else None).error
    return {
        "validation_elbo": ours.value,
        "validation_pictures": len(validation),
        "validation_error": ours.error,
        "validation_clusters": ours.clusters,
        "test_error": theirs.error,
        "test_clusters": theirs.clusters,
        "difference": gap / max(abs(theirs.value), 1e-9),
        "standard_errors": None if error is None else gap / max(error, 1e-9),
    }


def repeated(
    training: Items, rows: Tensor | None, validation: Items, test: Items, kind: Kind = KINDS["picture"]
) -> dict[str, Any]:
    """Return the near-duplicates of both splits among the rows that are trained on; see `models.data.near_duplicates`."""
    splits = {"validation": validation, "test": test}
    return {name: near_duplicates.compare(training, part, rows, kind) for name, part in splits.items()}


_PROTOCOL = (
    "one draw of each posterior, pixels as in the test; difference: (validation - test) / |test|; standard errors over blocks "
    "or groups where they are held out (weighted by their sizes), else over pictures; that of the difference takes what both "
    "splits have in a block as one; near-duplicates: "
)
_OF_PICTURES = (
    f"at 16 x 16 pixels, up to {near_duplicates.MOST_HELD_OUT} pictures of each split, nearer to a training picture than "
    f"{near_duplicates.NEAR:.0%} of the RMS distance between pictures"
)
_EQUAL = f"up to {near_duplicates.MOST_HELD_OUT} pictures of each split, equal to a training picture"


def protocol(kind: Kind) -> str:
    """Return how validation and test are compared."""
    if kind.comparable:
        return kind.worded(_PROTOCOL + _OF_PICTURES)
    return kind.worded(_PROTOCOL.replace("pixels", "values") + _EQUAL)


def disagree(found: Mapping[str, Any]) -> bool:
    """Return whether the two ELBOs differ strongly."""
    return bool(abs(found["difference"]) > SHARE and abs(found["standard_errors"] or 0) > ERRORS)


def lines(metrics: Mapping[str, Any], of: Kind = KINDS["picture"]) -> list[str]:
    """Return sentences about the two splits, for the terminal and the card; [] if they were not compared."""
    found = metrics.get("agreement")
    if not found:
        return []
    errors = ["", ""]
    if "test_clusters" in found:  # Earlier versions recorded no errors.
        kind = found.get("held_out", "random")
        errors = [
            f" {told_error(found[f'{part}_error'], found[f'{part}_clusters'], kind, of)}" for part in ("validation", "test")
        ]
    line = (
        f"Validation and test: the ELBO of {found['validation_pictures']:,} validation pictures is "
        f"{found['validation_elbo']:.2f}{errors[0]}, that of the test pictures {metrics['elbo']:.2f}{errors[1]}, a difference "
        f"of {100 * found['difference']:+.1f} %"
    )
    if errors[0] and found["standard_errors"] is not None:
        line += f" and {abs(found['standard_errors']):.1f} standard errors"
    if disagree(found):
        better = found["difference"] > 0
        line = f"Warning: {line[0].lower()}{line[1:]}. The splits disagree strongly: " + (
            "the weights and the pixel sigma were chosen on pictures that are easier than new ones, perhaps because they "
            "resemble training pictures. Train with --validation-split blocks for videos and other sequences, or group where "
            "pictures belong together"
            if better
            else "the validation pictures are harder than those of the test, perhaps because the test pictures resemble "
            "training pictures, or because the splits have different sources"
        )
    said = [f"{of.worded(line)}."]
    for name, counts in found.get("near_duplicates", {}).items():
        words = near_duplicates.line(counts, name, advise=False, kind=of)
        said.append(f"{words[0].upper()}{words[1:]}.")
    return said


def report_rows(metrics: Mapping[str, Any]) -> list[str]:
    """Return the rows of the report, as HTML; [] if the splits were not compared."""
    if "agreement" not in metrics:
        return []
    protocol, number = metrics["protocol"]["agreement"], page.number
    rows = [
        page.row("ELBO of the validation split", number(metrics, "agreement.validation_elbo"), protocol),
        page.row("its pictures", number(metrics, "agreement.validation_pictures", 0), "chosen as in training"),
        page.row(
            "validation against test",
            number(metrics, "agreement.difference", 1, True),
            f"strong above {100 * SHARE:g} % and {ERRORS:g} standard errors",
        ),
    ]
    rows += [
        page.row(name, number(metrics, f"agreement.{key}", digits), "over blocks or groups, if they are held out")
        for key, (name, digits) in ERROR_ROWS.items()
        if metrics["agreement"].get(key) is not None  # There are none over one block, and earlier versions had others.
    ]
    for split, counts in metrics["agreement"].get("near_duplicates", {}).items():
        rows += [
            page.row(
                f"{split} pictures {COUNTS[key]}",
                number(metrics, f"agreement.near_duplicates.{split}.{key}", 2 * (key == "adjacent_by_chance")),
                protocol,
            )
            for key in COUNTS
            if key in counts
        ]
    return rows
