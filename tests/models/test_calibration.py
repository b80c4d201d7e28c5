"""Tests of calibrations: the file, its defects, and that p-values are valid."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.calibration import (
    CALIBRATION,
    Calibration,
    StaleCalibration,
    read_calibration,
    rounded,
    smallest_p,
    write_calibration,
)
from models.checkpoint import CheckpointError
from models.scores import knn_distance
from models.sidecar import write_companion


def made(n: int = 200, labels: bool = True) -> Calibration:
    noise = np.random.default_rng(0)
    mu = rounded(noise.normal(size=(30, 3)).astype(np.float32))
    each = {"knn": noise.normal(size=n), "deviance": noise.normal(size=n)}
    return Calibration(
        mu, np.abs(mu), 0.25, ("knn", "deviance"), {name: np.sort(values) for name, values in each.items()}, smallest_p(each),
        noise.integers(0, 2, 30) if labels else None, ("cat", "dog") if labels else (), {"seed": 0, "n": n},
    )  # fmt: skip


@pytest.mark.parametrize("labels", [True, False])
def test_written_and_read_again(tmp_path: Path, labels: bool) -> None:
    calibration = made(labels=labels)
    write_calibration(tmp_path, calibration, "abc")
    found = read_calibration(tmp_path, "abc", 3)
    assert found is not None
    for name in ("mu", "sigma", "smallest", "labels"):
        assert np.array_equal(getattr(found, name), getattr(calibration, name)), name
    assert found.mu.dtype == np.float32
    assert {name: values.tolist() for name, values in found.held_out.items()} == {
        name: values.tolist() for name, values in calibration.held_out.items()
    }
    assert (found.bandwidth, found.default, found.label_names, found.record) == (
        0.25, ("knn", "deviance"), calibration.label_names, {"seed": 0, "n": 200},
    )  # fmt: skip
    again = found.latents.knn_distance(np.ones((2, 3)))
    assert np.array_equal(again, knn_distance(np.ones((2, 3)), calibration.mu))


def test_no_file_is_no_calibration(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, "abc", 3) is None


def test_other_weights_are_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path, made(), "abc")
    with pytest.raises(StaleCalibration, match=r"other weights; make it again: python -m models\.evaluate"):
        read_calibration(tmp_path, "abd", 3)
    with pytest.raises(StaleCalibration):  # whose latents may have another size
        read_calibration(tmp_path, "abd", 4)


def test_other_latents_are_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path, made(), "abc")
    with pytest.raises(CheckpointError, match=r"mu is torch.float16 \(30, 3\), should be .* rows of 4"):
        read_calibration(tmp_path, "abc", 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mu": np.full((30, 3), np.nan, np.float32)}, "mu has values that are not finite"),
        ({"mu": np.full((30, 3), 1e9, np.float32)}, "mu has values that are not finite"),
        ({"sigma": np.full((30, 3), -1, np.float32)}, "sigma has negative"),
        ({"sigma": np.ones((29, 3), np.float32)}, "mu has 30 rows, sigma 29"),
        ({"mu": np.ones((10_001, 3), np.float32)}, "1 to 10000 rows"),
        ({"bandwidth": 0.0}, "bandwidth must be a positive number, not 0.0"),
        ({"default": ()}, "'default' must be a list of different scores"),
        ({"default": ("knn", "knn")}, "'default' must be a list of different scores"),
        ({"default": ("knn", "elbo")}, "default score has no held-out values"),
        ({"smallest": np.array([2.0, 1.0])}, "smallest must be finite and sorted"),
        ({"held_out": {"knn": np.array([1.0, np.inf]), "deviance": np.ones(2)}}, "knn must be finite and sorted"),
        ({"held_out": {"magic": np.ones(2)}}, "has the tensors held_out.magic"),
        ({"held_out": {"knn": np.ones((2, 2)), "deviance": np.ones(2)}}, "should be torch.float64 of 1 to"),
        ({"labels": np.full(30, 2)}, "labels must be from 0 to 1"),
        ({"labels": np.zeros(29, np.int64)}, r"should be torch.int32 of shape \(30,\)"),
    ],
)  # fmt: skip
def test_defects_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with np.errstate(over="ignore"):
        write_calibration(tmp_path, replace(made(), **change), "abc")
    with pytest.raises(CheckpointError, match=words):
        read_calibration(tmp_path, "abc", 3)


@pytest.mark.parametrize("said", ["", "[]", "null", "{}", '{"bandwidth": 1, "default": 3, "label_names": [], "record": []}'])
def test_metadata_of_other_kinds_are_refused(tmp_path: Path, said: str) -> None:
    tensors = {"mu": torch.zeros(2, 3).half(), "sigma": torch.ones(2, 3).half(), "smallest": torch.ones(2).double()}
    write_companion(tmp_path / CALIBRATION, {**tensors, "held_out.knn": torch.ones(2).double()}, "abc", calibration=said)
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_calibration(tmp_path, "abc", 3)


def test_p_values_of_what_is_reported() -> None:
    calibration = replace(made(), held_out={"knn": np.array([1.0, 2.0]), "elbo": np.array([10.0, 20.0])})
    found = calibration.p_values({"knn": np.array([1.5]), "elbo": np.array([-15.0]), "regret": np.array([1.0])})
    assert {name: values.tolist() for name, values in found.items()} == {"knn": [2 / 3], "elbo": [2 / 3]}


def test_smallest_p_is_the_least_rank() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([8.0, 7.0, 6.0, 5.0])
    # Ranks from the top: 4, 3, 2, 1 and 1, 2, 3, 4.
    assert smallest_p({"a": first, "b": second}).tolist() == [0.2, 0.2, 0.4, 0.4]


def test_overall_is_valid_for_pictures_of_the_same_source() -> None:
    """Over many calibrations with new pictures, P(p <= a) <= a, also for scores that depend on each other."""
    noise, n, trials = np.random.default_rng(1), 49, 2000
    found = []
    for _ in range(trials):
        common = noise.normal(size=(n + 1, 1))
        values = common + noise.normal(size=(n + 1, 2))
        each = {"knn": values[:n, 0], "deviance": values[:n, 1]}
        calibration = replace(made(), held_out={name: np.sort(one) for name, one in each.items()}, smallest=smallest_p(each))
        p = calibration.p_values({"knn": values[n:, 0], "deviance": values[n:, 1]})
        found.append(calibration.overall(p)[0])
    for a in (0.1, 0.2, 0.5, 0.8):
        share = np.mean(np.array(found) <= a)
        assert share <= a + 4 * np.sqrt(a * (1 - a) / trials)
        assert share >= a - 0.06  # and not much smaller, with 49 held-out pictures


def test_a_stranger_has_the_smallest_p() -> None:
    calibration = made()
    p = calibration.p_values({"knn": np.array([99.0, -99.0]), "deviance": np.array([0.0, -99.0])})
    found = calibration.overall(p)
    assert found[0] <= 4 / 201
    assert found[1] == 1.0


def test_a_single_default_score_keeps_its_p_value() -> None:
    """So that 20 held-out items are enough for 0.05; two scores together need more."""
    values = np.arange(19.0)
    two = {"knn": values, "deviance": values[::-1]}
    both = replace(made(), held_out={name: np.sort(one) for name, one in two.items()}, smallest=smallest_p(two))
    one = replace(both, default=("deviance",))
    p = one.p_values({"deviance": np.array([99.0, 9.5]), "knn": np.array([99.0, 9.5])})
    assert one.overall(p).tolist() == p["deviance"].tolist() == [1 / 20, 10 / 20]
    assert one.least == 1 / 20
    assert both.least == both.overall(p)[0] == 3 / 20
