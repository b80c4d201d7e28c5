"""Nats are called what they are: a likelihood on 0 and 1, a density on greys, or a cross-entropy."""

import math
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import Manifest
from models.evaluate.card import card
from models.evaluate.headings import KINDS, constant_part, headings, kind_of
from models.preprocess import Preprocessing
from models.vae import VAEConfig
from tests.models.evaluate.test_card import METRICS


def manifest(likelihood: str, options: dict[str, Any] | None = None, **data: Any) -> Manifest:
    config = VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}, likelihood, options or {})
    return Manifest(config, Preprocessing(1, 28, 28), {"name": "mnist", **data})


@pytest.mark.parametrize(
    ("likelihood", "binary", "kind"),
    [
        ("bernoulli", True, "likelihood"),
        ("bernoulli", False, "cross-entropy"),
        ("gaussian", False, "density"),
        ("gaussian", True, "density"),
        ("continuous_bernoulli", False, "density"),
    ],
)
def test_kinds(likelihood: str, binary: bool, kind: str) -> None:
    assert kind_of(likelihood, binary) == kind
    metrics = {**METRICS, "protocol": {**METRICS["protocol"], "kind": kind}}
    text = card(Path("mine"), manifest(likelihood), metrics, [])
    assert f"| importance-weighted {KINDS[kind].bound} | 86.76" in text
    assert f"| {KINDS[kind].pixels} (one draw) | -65.50" in text
    assert ("negative log-likelihood" in text) == (kind == "likelihood")


def test_numbers_of_an_earlier_version() -> None:
    assert headings(manifest("bernoulli", binarize="none"), METRICS) == KINDS["cross-entropy"]
    assert headings(manifest("bernoulli", binarize="dynamic"), METRICS) == KINDS["likelihood"]
    assert headings(manifest("gaussian", binarize="none"), METRICS) == KINDS["density"]


def test_the_constant_of_a_fixed_sigma_is_named() -> None:
    """The Keras preset: 784/2 ln(2 pi / 2)."""
    words = constant_part(manifest("gaussian", {"sigma": 0.5**0.5}))
    assert 784 / 2 * math.log(math.pi) == pytest.approx(448.7, abs=0.05)
    assert words.startswith("Of the negative log density, 448.7 nats are a constant")
    assert words in card(Path("mine"), manifest("gaussian", {"sigma": 0.5**0.5}), METRICS, [])
    for other in (manifest("gaussian", {"sigma": "optimal"}), manifest("gaussian"), manifest("bernoulli")):
        assert constant_part(other) == ""
