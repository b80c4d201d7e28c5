"""P-values of held-out items by their ranks among the others: those of a calibration without each, and no head start."""

import numpy as np
import pytest

from models.calibration import Calibration, smallest_p
from models.evaluate import among_others
from models.evaluate.calibrate import aurocs, p_values
from models.scores import Array

LATENTS = np.zeros((2, 1), np.float32)
CHOICES = [("surprise",), ("knn", "nll"), ("knn", "density", "nll")]


def calibration(usual: dict[str, Array]) -> Calibration:
    held_out = {name: np.sort(values) for name, values in usual.items()}
    return Calibration(LATENTS, LATENTS + 1, 1.0, tuple(usual), held_out, smallest_p(usual))


@pytest.mark.parametrize("names", CHOICES)
@pytest.mark.parametrize("decimals", [1, 9])  # with and without equal scores
def test_they_are_those_of_a_calibration_without_the_item(
    names: tuple[str, ...], decimals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)
    usual = {name: noise.normal(size=40).round(decimals) for name in names}
    slow = [
        p_values(
            calibration({name: np.delete(values, i) for name, values in usual.items()}),
            {name: values[i : i + 1] for name, values in usual.items()},
        )[0]
        for i in range(40)
    ]
    np.testing.assert_allclose(among_others.p_values(usual, names), slow)
    monkeypatch.setattr(among_others, "BLOCK", 120)  # three items at a time
    np.testing.assert_allclose(among_others.p_values(usual, names), slow)


@pytest.mark.parametrize("names", CHOICES)
def test_what_is_like_the_held_out_items_has_an_auroc_of_one_half(names: tuple[str, ...]) -> None:
    noise, found = np.random.default_rng(1), list[float]()
    for _ in range(1500):
        usual, others = ({name: noise.normal(size=count) for name in names} for count in (8, 40))
        found.append(aurocs(calibration(usual), usual, {"others": others})["p_value"]["others"])
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found) - 0.5) < 4 * error < 0.02  # Ranked among themselves, it was 0.55 to 0.65.
