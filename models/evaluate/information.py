"""Bounds of the information that latents have of pictures, and how far the aggregate posterior is from a prior, in nats.

With N pictures, an estimate of I(x; z) cannot exceed log N, so a single number often says N and nothing of the model. Knows
nothing of files or of cards.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.evaluate.diagnostics import RateOfAggregate
from models.evaluate.html import number, row
from models.mixture import GaussianMixture
from models.priors import Prior

NAMES = {"mutual_information": "mutual information I(x; z)", "marginal_kl": "KL(aggregate posterior, N(0, I))"}
COVERAGE, APART = "coverage of the prior", "a draw of the prior is recognised as such"
# An estimate of I(x; z) nearer than this to log N says more of N than of the model.
SATURATED_WITHIN = 1.0
PROTOCOL = (
    "at least: mean of log q(z given x) - log q(z), one draw a picture, q(z) the mixture of the posteriors of the N test "
    "pictures (Hoffman & Johnson 2016), which never exceeds ln N; at most: mean of log q(z given x) - log r(z), where r is "
    "the best known density of latents: N(0, I), the trained prior or the fitted one; KL(q(z), N(0, I)) is the mean KL to "
    "N(0, I) less I(x; z), so it has a bracket too"
)
APART_PROTOCOL = (
    "share of right guesses whether a latent is a draw from the posterior of a test picture or from the trained prior, half "
    "of each, by which of the fitted prior and the trained prior has the higher density there: 50 % by guessing, where both "
    "are the same. At 100 % they never overlap: the trained prior gives latents such as no picture has, whatever its coverage"
)


def brackets(measured: RateOfAggregate, count: int, rates: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return the brackets of I(x; z) and of KL(q(z) || N(0, I)) for metrics.json.

    `measured` is the estimate by the mixture of `count` posteriors; its two parts have the mean KL to N(0, I) as their sum.
    `rates` are the means of log q(z given x) - log r(z) for other densities r. Since E_q(z) log q(z) >= E_q(z) log r(z), I is
    at most each of them. Noise may put the bounds in the wrong order by a little; the upper one is then raised to the lower.
    """
    rate = measured.mutual_information + measured.marginal_kl
    least = min(measured.mutual_information, math.log(count))  # which rounding may exceed
    most = max(least, min([rate, *rates]))
    return {
        "mutual_information": {"at_least": least, "at_most": most, "limit": math.log(count)},
        "marginal_kl": {"at_least": rate - most, "at_most": rate - least},
    }


@torch.no_grad()
def told_apart(posterior: DiagonalGaussian, eps: Tensor, prior: Prior, draws: Tensor, mixture: GaussianMixture) -> float:
    """Return how often the density ratio of a fitted mixture and a prior tells latents of pictures from draws of the prior.

    eps (N, D), draws (S, D) are from `prior`. The result is 0.5 where nothing tells them apart, and 1 where they never mix.
    """

    def of_pictures(z: Tensor) -> Tensor:
        return mixture.log_prob(z.double()) > prior.log_prob(z).double()

    right = of_pictures(posterior.sample(eps)).double().mean() + (~of_pictures(draws)).double().mean()
    return float(right) / 2


def brackets_in(metrics: Mapping[str, Any]) -> bool:
    """Return whether metrics.json has brackets; earlier versions had the estimates alone, which said log N."""
    return isinstance(metrics.get("mutual_information"), Mapping)


def card_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows of a card, (name, value): I(x; z), the marginal KL, coverage and what it hides. Old metrics have none."""
    rows = []
    if brackets_in(metrics):
        for key, name in NAMES.items():
            found = metrics[key]
            rows.append((name, f"at least {found['at_least']:.2f}{saturation(found)}, at most {found['at_most']:.2f}"))
    if {"told_apart", "prior_coverage"} <= metrics.keys():
        rows.append((COVERAGE, f"{100 * metrics['prior_coverage']:.1f} %"))
        rows.append((APART, f"{100 * metrics['told_apart']:.1f} % (50 %: by guessing)"))
    return rows


def report_rows(metrics: Mapping[str, Any]) -> list[str]:
    """Return the same as rows of a report, HTML with the exact values."""
    rows, protocol = [], metrics["protocol"]
    if brackets_in(metrics):
        meanings = (protocol["mutual_information"], "the mean KL to N(0, I) minus the mutual information")
        for (key, name), meaning in zip(NAMES.items(), meanings, strict=True):
            least = f"at least{saturation(metrics[key])}"
            rows.append(row(f"{name}, {least}", number(metrics, f"{key}.at_least"), meaning))
            rows.append(row(f"{name}, at most", number(metrics, f"{key}.at_most"), "the same"))
        rows.append(row("largest measurable mutual information", number(metrics, "mutual_information.limit"), "ln N"))
    if {"told_apart", "prior_coverage"} <= metrics.keys():
        rows.append(row(COVERAGE, number(metrics, "prior_coverage", 1, True), protocol["prior_coverage"]))
        rows.append(row(APART, number(metrics, "told_apart", 1, True), protocol["told_apart"]))
    return rows


def saturation(bracket: Mapping[str, Any]) -> str:
    """Say that the lower bound of I(x; z) is about as large as the number of pictures allows, or return ""."""
    if "limit" not in bracket or bracket["at_least"] < bracket["limit"] - SATURATED_WITHIN:
        return ""
    return f" (saturated: {bracket['limit']:.2f} is all that so many pictures can show)"
