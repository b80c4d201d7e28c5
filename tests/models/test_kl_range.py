"""The range of the KL on a card: what is recorded, what is read, and what is unusual."""

import json
from typing import Any

import numpy as np
import pytest

from models.checkpoint import read
from models.kinds import kind_of
from models.kl_range import KEY, PROTOCOL, KlRange, measured, recorded
from tests.live.server import WEIGHTS


def test_nearly_all_test_pictures_are_inside_and_an_outlier_does_not_stretch_it() -> None:
    nats = np.append(np.random.default_rng(0).gamma(25, 1, 10_000), 1e6)
    found = measured(nats)
    assert found["maximum"] == 1e6
    kl_range = recorded({KEY: found})
    assert kl_range is not None
    low, high = kl_range.limits
    assert (nats[:-1] <= high).all()
    assert (nats >= low).all()
    assert high < 100


def test_equal_values_leave_a_nat() -> None:
    assert KlRange(2.0, 2.0).limits == (1.0, 3.0)


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"low": 1}, {"low": "1", "high": 2}, {"low": 2, "high": 1}, {"low": 0, "high": float("nan")}]
)
def test_what_is_not_usable_is_none(value: Any) -> None:
    assert recorded({KEY: value}) is None
    assert recorded({}) is None


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*/metrics.json")), ids=lambda path: path.parent.name)
def test_every_shipped_model_has_one(path: Any) -> None:
    metrics = json.loads(path.read_text())
    kl_range = recorded(metrics)
    assert kl_range is not None
    kind = kind_of(read(path.parent).manifest.model.kind)
    assert metrics["protocol"][KEY] == (PROTOCOL if kind.name == "picture" else kind.worded(PROTOCOL))
    assert kl_range.low < metrics["kl"] < kl_range.high
    assert metrics[KEY]["maximum"] < kl_range.limits[1]
