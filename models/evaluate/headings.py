"""What the nats of a model are called: those of a likelihood, of a density, or a cross-entropy of greys, which is neither.

Knows nothing of how they are measured.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from models.checkpoint import Manifest
from models.distributions import gaussian_constant


class Headings(NamedTuple):
    """Names of the negative bound, and of log p(x given z)."""

    bound: str
    pixels: str


KINDS: Mapping[str, Headings] = {
    "likelihood": Headings("negative log-likelihood", "log likelihood of the pixels"),
    "density": Headings("negative log density", "log density of the pixels"),
    "cross-entropy": Headings("cross-entropy, no likelihood", "negative cross-entropy of the pixels"),
}


def kind_of(likelihood: str, binary: bool) -> str:
    """Return the kind of the nats of a likelihood, on pixels that are all 0 or 1, or on others: a key of KINDS."""
    if likelihood != "bernoulli":
        return "density"
    return "likelihood" if binary else "cross-entropy"


def headings(manifest: Manifest, metrics: Mapping[str, Any]) -> Headings:
    """Return the names for the numbers of a model. Earlier versions did not record the kind."""
    kind = metrics["protocol"].get("kind") or kind_of(manifest.model.likelihood, manifest.data.get("binarize") != "none")
    found = KINDS.get(kind, KINDS["likelihood"])
    if manifest.model.kind == "picture":
        return found
    return found._replace(pixels=found.pixels.replace("pixels", "values"))


def constant_part(manifest: Manifest) -> str:
    """Say how much of -log p(x given z) is a constant, for a Gaussian likelihood with a fixed pixel sigma; otherwise ""."""
    sigma, model = manifest.model.likelihood_options.get("sigma"), manifest.model
    if model.likelihood != "gaussian" or isinstance(sigma, str) or sigma is None:
        return ""
    return (
        f"Of the negative log density, {gaussian_constant(sigma, math.prod(model.shape)):.1f} nats are a constant, "
        f"P/2 ln(2 pi s^2) for P = {math.prod(model.shape)} values and the pixel sigma s = {sigma:.4g}; the rest is the "
        "squared error over 2 s^2"
    )
