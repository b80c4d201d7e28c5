"""Conditions: what they hold, how rows carry labels, and what a model makes of them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import VAE, VAEConfig, checkpoint
from models.checkpoint import CheckpointError
from models.condition import Condition, NoSuchValue, blocks, in_turn, with_labels, without_labels
from models.data import Items
from models.distributions import Bernoulli
from models.golden import read_golden, write_golden
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.regret import HELD, STEPS, regret
from models.train.objectives import OBJECTIVES, Wishes

SHAPES = Condition("shape", ("round", "square", "flat"), (5, 1, 2))
NETS: dict[str, dict[str, Any]] = {
    "conv": {"channels": [4, 6], "hidden": 8},
    "residual": {"channels": [4], "hidden": 0},
    "mlp": {"hidden": [8]},
    "gated": {"hidden": [8]},
}


def config(arch: str = "mlp", **more: Any) -> VAEConfig:
    return VAEConfig((1, 8, 8), 3, arch, NETS[arch], condition=SHAPES, **more)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"values": ("round",), "counts": (1,)}, "2 to 256 different values, found 1"),
        ({"values": ("round", "round", "flat")}, "different values"),
        ({"values": ("round", "", "flat")}, "texts of 1 to 200"),
        ({"values": ("round", 1, "flat")}, "texts of 1 to 200"),
        ({"values": "abc"}, "values must be a list"),
        ({"key": "k" * 201}, "texts of 1 to 200"),
        ({"counts": (1, 2)}, "counts must be"),
        ({"counts": (1, 2, -1)}, "counts must be"),
        ({"counts": (0, 0, 0)}, "not all 0"),
        ({"counts": (1, 2, 2.0)}, "counts must be"),
        ({"values": tuple(map(str, range(257))), "counts": (1,) * 257}, "found 257"),
    ],
)
def test_what_cannot_be_a_condition(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(SHAPES, **changed)


def test_an_unknown_value_lists_those_that_exist() -> None:
    assert SHAPES.index("flat") == 2
    with pytest.raises(NoSuchValue, match="there is no shape 'oval'; choose round, square or flat"):
        SHAPES.index("oval")
    many = Condition("n", tuple(map(str, range(30))), (1,) * 30)
    assert many.choices.endswith("18, 19 or one of 10 more")


def test_labels_are_drawn_with_the_frequencies_of_training() -> None:
    """By the inverse CDF: 5 of 8 for the first value, 1 of 8 for the second, 2 of 8 for the third."""
    ends = np.array([1e-12, 0.62, 0.63, 0.74, 0.76, 1 - 2**-53])
    assert SHAPES.drawn(ends).tolist() == [0, 0, 1, 1, 2, 2]
    never = dataclasses.replace(SHAPES, counts=(1, 0, 1))
    assert set(never.drawn(np.linspace(0.001, 0.999, 100)).tolist()) == {0, 2}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (7,)])
def test_rows_carry_their_labels(dtype: type, shape: tuple[int, ...]) -> None:
    rows: NDArray[Any] = np.random.default_rng(0).integers(0, 2, (256, *shape)).astype(dtype)
    carried = with_labels(rows, np.arange(256))
    assert carried.dtype == dtype
    assert carried.shape == (256, shape[0] + 1, *shape[1:])
    own, labels = without_labels(torch.from_numpy(carried))
    assert labels.tolist() == list(range(256))
    np.testing.assert_array_equal(own.numpy(), rows)


def test_bytes_that_became_values_from_0_to_1_keep_their_labels() -> None:
    """An engine divides all bytes of a picture by 255, those of the label too."""
    carried = with_labels(np.zeros((256, 1, 2, 2), np.uint8), np.arange(256))
    _, labels = without_labels(torch.from_numpy(carried.astype(np.float32) / np.float32(255)))
    assert labels.tolist() == list(range(256))


@pytest.mark.parametrize("arch", NETS)
def test_encoder_and_decoder_are_told(arch: str, x: torch.Tensor) -> None:
    vae = VAE(config(arch)).eval()
    told, other = vae.given(LABELS), vae.given((LABELS + 1) % 3)
    z = torch.zeros(6, 3)
    assert told.encode(x).mu.shape == (6, 3)
    assert told.decode(z).mean.shape == x.shape
    assert not torch.equal(told.encode(x).mu, other.encode(x).mu)
    assert not torch.equal(told.decode(z).mean, other.decode(z).mean)


@pytest.mark.parametrize("arch", NETS)
def test_each_item_has_its_own_label_and_one_label_is_for_all(arch: str, x: torch.Tensor) -> None:
    vae, z = VAE(config(arch)).eval(), torch.randn(6, 3)
    every = vae.given(LABELS)
    for i in range(6):
        alone = vae.given(LABELS[i : i + 1])
        torch.testing.assert_close(alone.encode(x[i : i + 1]).mu, every.encode(x).mu[i : i + 1])
        torch.testing.assert_close(alone.decode(z).mean[i], every.decode(z).mean[i])


def test_k_samples_of_each_item_repeat_the_labels(x: torch.Tensor) -> None:
    vae, z = VAE(config()).eval(), torch.randn(2, 6, 3)
    both = vae.given(LABELS).decode(z.flatten(0, 1)).mean.unflatten(0, (2, 6))
    for sample, means in zip(z, both, strict=True):
        torch.testing.assert_close(vae.given(LABELS).decode(sample).mean, means)
    with pytest.raises(ValueError, match="labels of 6 items, which do not fit 4 items"):
        vae.given(LABELS).decode(torch.zeros(4, 3))


def test_a_view_shares_the_weights_and_leaves_the_model_as_it_is(x: torch.Tensor) -> None:
    vae = VAE(config())
    told = vae.given(LABELS)
    assert all(one is other for one, other in zip(vae.parameters(), told.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"needs labels, one of round, square and flat .*given"):
        vae.encode(x)
    with pytest.raises(ValueError, match="needs the shape of each item: round, square and flat"):
        vae.given(None)


def test_a_model_without_a_condition_takes_no_labels_and_is_its_own_view() -> None:
    vae = VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [8]}))
    assert vae.given(None) is vae
    with pytest.raises(ValueError, match="no condition, so it takes no labels"):
        vae.given(LABELS)


def test_objectives_bounds_and_regret_take_the_view(x: torch.Tensor) -> None:
    """Their values are those of a model of one label, item by item."""
    vae = VAE(config()).eval()
    pixels, eps = vae.kind.to_x(x), torch.randn(6, 3)
    terms = evidence_lower_bound(vae.given(LABELS), pixels, eps)
    for i in range(6):
        one = evidence_lower_bound(vae.given(LABELS[i : i + 1]), pixels[i : i + 1], eps[i : i + 1])
        torch.testing.assert_close(one.elbo, terms.elbo[i : i + 1])
    bound = importance_weighted_bound(vae.given(LABELS), pixels, torch.randn(4, 6, 3))
    assert torch.isfinite(bound.log_prob).all()
    for name, objective in OBJECTIVES.items():
        if name == "perceptual":  # it needs a classifier of pictures
            continue
        loss = objective(Wishes(1.0, 0.1, False, 6))(vae.given(LABELS), pixels, torch.randn(2, 6, 3))
        assert torch.isfinite(loss.value)
    better = regret(vae.given(LABELS), pixels, torch.randn(HELD + STEPS, 3))
    assert better.shape == (6,)


def test_blocks_have_their_labels(x: torch.Tensor) -> None:
    vae = VAE(config()).eval()
    parts = [own.encode(block).mu for own, block in blocks(vae, x, LABELS, 4)]
    torch.testing.assert_close(torch.cat(parts), vae.given(LABELS).encode(x).mu)
    assert in_turn(SHAPES, 5).tolist() == [0, 1, 2, 0, 1]  # type: ignore[union-attr]
    assert in_turn(None, 5) is None


def test_half_precision_takes_labels(x: torch.Tensor) -> None:
    vae = VAE(config("conv"))
    with torch.autocast("cpu", torch.bfloat16):
        likelihood = vae.given(LABELS).decode(vae.given(LABELS).encode(x).mu)
    assert isinstance(likelihood, Bernoulli)


def test_what_a_condition_does_not_go_with() -> None:
    with pytest.raises(ValueError, match="standard prior only, not with 'vamp'"):
        config(prior="vamp")
    with pytest.raises(ValueError, match="unknown option 'labels'"):
        VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [8], "labels": 3}))


def test_a_checkpoint_keeps_it_and_one_without_it_says_nothing_of_it(tmp_path: Path, x: torch.Tensor) -> None:
    vae = VAE(config("conv"))
    checkpoint.save(tmp_path / "told", vae)
    read = checkpoint.read(tmp_path / "told")
    assert read.vae.config.condition == SHAPES
    torch.testing.assert_close(read.vae.given(LABELS).encode(x).mu, vae.eval().given(LABELS).encode(x).mu)
    checkpoint.save(tmp_path / "plain", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [8]})))
    assert "condition" not in json.loads((tmp_path / "plain" / "config.json").read_text())["model"]


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("shape", "condition must be an object"),
        ({"key": "shape", "values": ["a", "b"]}, "condition lacks the key 'counts'"),
        (
            {"key": "shape", "values": ["a", "b"], "counts": [1, 1], "more": 1},
            "condition has the unknown key 'more'; known keys: key, values, counts",
        ),
        ({"key": "shape", "values": {"a": 1}, "counts": [1]}, "values must be a list"),
    ],
)
def test_hostile_configurations(stored: object, reason: str, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, VAE(config()))
    content = json.loads((tmp_path / "config.json").read_text())
    content["model"]["condition"] = stored
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.read(tmp_path)


def test_the_golden_answer_has_the_labels(tmp_path: Path, digits: Items) -> None:
    torch.manual_seed(0)
    digit = Condition("label", tuple("0123456789"), (1,) * 10)
    checkpoint.save(tmp_path, VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}, condition=digit)))
    saved = checkpoint.read(tmp_path)
    write_golden(tmp_path, saved, digits.x, digits.labels, digits.labels)
    golden = read_golden(tmp_path, saved.digest, saved.vae.config)
    assert golden is not None
    assert golden.labels is not None
    assert golden.labels.tolist() == list(range(10))
    told = saved.vae.given(torch.from_numpy(golden.labels))
    np.testing.assert_allclose(told.encode(torch.from_numpy(golden.x)).mu.numpy(), golden.mu, rtol=1e-5)
