"""Warnings about encoded pictures: the same for a picture alone and among others, and none where nothing is wrong."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibration import Calibration
from models.ink import CONTRADICTS
from models.kl_range import KlRange
from models.preprocess import Preprocessing
from models.scores import TrainingLatents
from service.inference.picture_warnings import KlCheck, PictureWarning, Warnings, is_flat, perhaps_flat

SPEC = Preprocessing(1, 4, 4)
DARK, LIGHT = np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 255, np.uint8)
RANGE = KlRange(14.0, 41.0)


def posteriors(nats: list[float], dim: int = 20) -> NDArray[np.float32]:
    """Rows (n, 3, dim) whose KL is so many nats: sigma is 1/2 and mu makes up the rest."""
    rest = 0.5 * (0.25 - 1 - 2 * np.log(0.5))
    rows = np.empty((len(nats), 3, dim), np.float32)
    for row, kl in zip(rows, nats, strict=True):
        row[0], row[1], row[2] = np.sqrt(2 * (kl / dim - rest)), 0.5, 2 * np.log(0.5)
    return rows


def looked_at(
    rows: NDArray[np.float32], pictures: list[NDArray[np.uint8]], spec: Preprocessing = SPEC
) -> list[PictureWarning]:
    warnings, check = Warnings(), KlCheck(RANGE, rows.shape[2])
    for i in check.suspects(rows):
        check.warn(rows[i], pictures[i], i, spec, warnings)
    return warnings.found


def test_only_what_is_far_outside_is_unusual() -> None:
    usual = [20.0, 14.0, 41.0, 60.0, 67.9]
    assert RANGE.limits == (-13.0, 68.0)
    assert looked_at(posteriors(usual), [DARK] * 5) == []
    assert looked_at(posteriors([138.0]), [DARK]) == [
        (0, "unusual", "The KL of this picture is 138 nats; the model's test pictures have 14 to 41"),
    ]


def test_what_is_far_below_is_unusual() -> None:
    check, rows, warnings = KlCheck(KlRange(40.0, 45.0), 20), posteriors([34.0, 36.0]), Warnings()
    assert list(check.suspects(rows)) == [0]
    for i in (0, 1):
        check.warn(rows[i], LIGHT, i, SPEC, warnings)
    assert [one.item for one in warnings.found] == [0]


def test_an_inverted_picture_is_told_what_to_try() -> None:
    assert looked_at(posteriors([138.0]), [LIGHT])[0].detail.endswith(". The picture looks inverted: try invert=yes")
    inverted = Preprocessing(1, 4, 4, invert="yes")
    assert looked_at(posteriors([138.0]), [LIGHT], inverted)[0].detail.endswith(". The picture looks inverted: try invert=no")
    assert [one.item for one in looked_at(posteriors([40.0, 42.0, 42.0]), [LIGHT, LIGHT, DARK])] == [1]  # 14 to 41 are usual
    dark_ink = Preprocessing(1, 4, 4, ink="dark")
    assert looked_at(posteriors([138.0]), [DARK], dark_ink)[0].detail.endswith(". The picture looks inverted: try invert=yes")


@pytest.mark.parametrize("dim", [1, 2, 20, 100])
def test_alone_and_among_others(dim: int) -> None:
    nats = np.concatenate([np.linspace(60, 76, 400), [1e5, 1e9]])
    rows = posteriors(nats.tolist(), dim)
    together = looked_at(rows, [DARK] * len(rows))
    alone = [one._replace(item=i) for i, row in enumerate(rows) for one in looked_at(row[None], [DARK])]
    assert together == alone
    assert 150 < len(together) < 250
    assert together[-2].detail.startswith("The KL of this picture is 100,000 nats")


def test_what_is_not_a_number_is_unusual() -> None:
    rows = posteriors([20.0, 20.0])
    rows[1, 0, 3] = np.nan
    assert [one.item for one in looked_at(rows, [DARK, DARK])] == [1]
    assert looked_at(rows[1:], [DARK])[0].detail.startswith("The KL of this picture is nan nats")


def test_blank_pictures() -> None:
    warnings = Warnings()
    one_pixel = DARK.copy()
    one_pixel[0, 3, 3] = 1
    colors = np.stack([DARK[0], LIGHT[0], DARK[0]])
    uneven = colors.copy()
    uneven[2, 1, 1] = 9
    for item, pixels in enumerate([DARK, one_pixel, LIGHT, colors, uneven, DARK.astype(np.float32)]):
        warnings.add_blank(pixels, item)
    assert warnings.found == [
        (0, "blank", "all pixels are equal (0)"),
        (2, "blank", "all pixels are equal (255)"),
        (3, "blank", "all pixels are equal (0, 255, 0)"),
        (5, "blank", "all pixels are equal (0)"),
    ]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 4), (1, 1, 1), (1, 1, 7), (2, 6, 1)])
def test_no_blank_picture_is_overlooked_among_many(shape: tuple[int, int, int]) -> None:
    blank = np.repeat(np.arange(0, 256, 5, dtype=np.uint8), shape[0] * shape[1] * shape[2]).reshape(-1, *shape)
    almost = blank.copy()
    almost[:, 0, 0, 0] += 1
    strewn = np.random.default_rng(0).integers(0, 256, blank.shape, np.uint8)
    for block in (blank, almost, strewn):
        flat = np.array([is_flat(pixels) for pixels in block])
        assert (perhaps_flat(block) | ~flat).all()
    assert perhaps_flat(blank).all()
    assert strewn[0].size < 100 or not perhaps_flat(strewn).any()
    assert perhaps_flat(blank[:0]).shape == (0,)


def test_what_padding_hides_is_told_only_with_an_unusual_kl() -> None:
    warnings = Warnings()
    warnings.add_notes(0, [(CONTRADICTS, ""), ("clipped", "much")])
    assert warnings.found == [(0, "clipped", "much")]
    check, rows = KlCheck(RANGE, 20), posteriors([138.0, 138.0])
    assert list(check.suspects(rows)) == [0, 1]
    for i in (0, 1):
        check.warn(rows[i], DARK, i, SPEC, warnings)
    assert [one.detail.endswith("try invert=yes") for one in warnings.found] == [False, True, False]


def test_items_are_renumbered_and_forgotten() -> None:
    warnings = Warnings()
    assert not warnings.found
    warnings.add_notes(1, [("blank", "")])
    warnings.renumbered([4, 7])
    assert warnings.found == [(7, "blank", "")]
    warnings.clear()
    assert not warnings.found


def test_a_calibration_says_how_far_away_an_unusual_picture_is() -> None:
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(40, 20)).astype(np.float16).astype(np.float32)
    held_out = {"knn": np.sort(TrainingLatents(mu, mu, 0).knn_distance(rng.normal(size=(999, 20))))}
    calibration = Calibration(mu, np.ones_like(mu), 0.5, ("knn",), held_out, np.linspace(0, 1, 999))
    check, warnings = KlCheck(RANGE, 20, calibration), Warnings()
    far, near = posteriors([138.0, 138.0])
    near[0] = mu[0]
    unknown = far.copy()
    unknown[0] = np.nan
    for item, row in enumerate((far, near, unknown)):
        check.warn(row, LIGHT, item, SPEC, warnings)
    usual, hint = "; the model's test pictures have 14 to 41", ". The picture looks inverted: try invert=yes"
    apart = ". In latent space it is farther from the training pictures than "
    assert warnings.found[0].detail == f"The KL of this picture is 138 nats{usual}{apart}all 999 held-out pictures{hint}"
    assert warnings.found[-1].detail == f"The KL of this picture is nan nats{usual}{hint}"
    near[0, 0] += 60
    check.warn(near, DARK, 3, SPEC, warnings)
    assert warnings.found[-1].detail.endswith(f"{apart}all 999 held-out pictures")


def test_the_share_of_nearer_held_out_pictures_is_rounded_down() -> None:
    mu = np.zeros((5, 2), np.float32)
    calibration = Calibration(mu, mu + 1, 0.5, ("knn",), {"knn": np.arange(1.0, 3000)}, np.linspace(0, 1, 9))
    check, warnings = KlCheck(KlRange(1.0, 1.5), 2, calibration), Warnings()
    for distance in (2998.5, 10.0, 0.5):
        check.warn(np.array([[distance, 0], [1, 1], [0, 0]], np.float32), DARK, 0, SPEC, warnings)
    ends = ["than 99.9 % of 2,999 held-out pictures", "than 0.3 % of 2,999 held-out pictures"]
    assert [one.detail[-len(end) :] for one, end in zip(warnings.found, ends, strict=False)] == ends
