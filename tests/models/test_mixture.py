"""A mixture's density, draws and file: against direct sums, and against what other files could hold."""

import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from models.checkpoint import CheckpointError
from models.distributions import DiagonalGaussian
from models.mixture import BLOCK_NUMBERS, PRIOR, ComponentLabels, GaussianMixture, StalePrior, read_prior, write_prior

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 3.0], [-4.0, 0.0], [5.0, -2.0]], dtype=torch.float64)
FULL = torch.tensor([[[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [-0.1, 2.0]], [[0.7, 0.0], [0.0, 0.7]]], dtype=torch.float64)
WIDTHS = torch.tensor([[0.5, 2.0], [0.1, 0.3], [1.0, 1.0]], dtype=torch.float64)
MIXTURES = [GaussianMixture(WEIGHTS, MEANS, FULL), GaussianMixture(WEIGHTS, MEANS, WIDTHS)]


def test_labels_are_named_by_the_classes_if_these_name_them_all() -> None:
    labels = torch.tensor([3, 3, 7])
    assert ComponentLabels.named(labels, None).names == ("3", "7")
    assert ComponentLabels.named(labels, ["zero", "one"]).names == ("3", "7")
    named = ComponentLabels.named(torch.tensor([1, 0, 1]), ["zero", "one"])
    assert (named.names, named.index.tolist()) == (("zero", "one"), [1, 0, 1])


@pytest.mark.parametrize("mixture", MIXTURES, ids=["full", "diagonal"])
def test_density_is_that_of_torch(mixture: GaussianMixture) -> None:
    scale = mixture.scale if mixture.covariance == "full" else torch.diag_embed(mixture.scale)
    components = torch.distributions.MultivariateNormal(MEANS, scale_tril=scale)
    expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(WEIGHTS), components)
    z = 4 * torch.randn(7, 11, 2, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(
        mixture.to(torch.float32).log_prob(z.float()).double(), expected.log_prob(z), rtol=1e-4, atol=1e-4
    )


def test_blocks_do_not_show() -> None:
    z = torch.randn(BLOCK_NUMBERS // 6 + 5, 2, dtype=torch.float64)
    both = MIXTURES[0].log_prob(z)
    torch.testing.assert_close(both[-10:], MIXTURES[0].log_prob(z[-10:]))


def test_a_lone_component_is_a_gaussian() -> None:
    mixture = GaussianMixture(torch.ones(1), torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.5, 2.0, 1.0]]))
    z = torch.randn(9, 3)
    normal = DiagonalGaussian(mixture.means[0], 2 * mixture.scale[0].log())
    torch.testing.assert_close(mixture.log_prob(z), normal.log_prob(z))


@pytest.mark.parametrize("mixture", MIXTURES, ids=["full", "diagonal"])
def test_draws_have_its_moments(mixture: GaussianMixture) -> None:
    n = 40_000
    z = mixture.sample(torch.randn(n, 2, dtype=torch.float64), torch.rand(n, dtype=torch.float64))
    scale = mixture.scale if mixture.covariance == "full" else torch.diag_embed(mixture.scale)
    second = (WEIGHTS[:, None, None] * (scale @ scale.mT + MEANS[:, :, None] * MEANS[:, None])).sum(0)
    torch.testing.assert_close(z.mean(0), WEIGHTS @ MEANS, rtol=0, atol=5 * 4 / math.sqrt(n))
    torch.testing.assert_close(z.T @ z / n, second, rtol=0.03, atol=0.1)


def test_components_are_chosen_by_the_inverse_cdf() -> None:
    u = torch.tensor([0.0001, 0.1999, 0.2001, 0.6999, 0.7001, 0.9999], dtype=torch.float64)
    drawn = MIXTURES[0].sample(torch.zeros(6, 2, dtype=torch.float64), u)
    torch.testing.assert_close(drawn, MEANS[[0, 0, 1, 1, 2, 2]])


class TestFile:
    def write(self, directory: Path, **changed: Any) -> None:
        """A prior of digest "abc" with other tensors, or metadata, than it should have."""
        metadata = {"format_version": "1", "digest": "abc", "fitted": "{}"} | changed.pop("metadata", {})
        tensors = {"weights": WEIGHTS, "means": MEANS, "scale": FULL} | changed
        kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        (directory / PRIOR).write_bytes(safetensors.torch.save(kept, metadata))

    @pytest.mark.parametrize("mixture", MIXTURES, ids=["full", "diagonal"])
    def test_comes_back(self, tmp_path: Path, mixture: GaussianMixture) -> None:
        write_prior(tmp_path, mixture, "abc", {"fit_seed": 3})
        prior = read_prior(tmp_path, "abc", 2)
        assert prior is not None
        assert prior.fitted == {"fit_seed": 3}
        assert prior.mixture.covariance == mixture.covariance
        torch.testing.assert_close(prior.mixture.weights, WEIGHTS)
        torch.testing.assert_close(prior.mixture.scale, mixture.scale, rtol=1e-6, atol=1e-6)
        assert [path.name for path in tmp_path.iterdir()] == [PRIOR]

    def test_labels_come_back(self, tmp_path: Path) -> None:
        labels = ComponentLabels.named(torch.tensor([2, 0, 2]), ("cat", "cow", "dog"))
        write_prior(tmp_path, MIXTURES[0], "abc", {}, labels)
        prior = read_prior(tmp_path, "abc", 2)
        assert prior is not None
        parts = prior.by_label()
        assert list(parts) == ["cat", "dog"]
        torch.testing.assert_close(parts["dog"].weights, torch.tensor([0.4, 0.6], dtype=torch.float64))
        torch.testing.assert_close(parts["dog"].means, MEANS[[0, 2]])
        torch.testing.assert_close(parts["cat"].scale, FULL[[1]], rtol=1e-6, atol=1e-6)

    def test_older_ones_have_no_labels(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        prior = read_prior(tmp_path, "abc", 2)
        assert prior is not None
        assert prior.by_label() == {}

    def test_equal_mixtures_have_equal_bytes(self, tmp_path: Path) -> None:
        contents = set()
        for _ in range(20):
            write_prior(tmp_path, MIXTURES[0], "d1", {"pictures": 5})
            contents.add((tmp_path / PRIOR).read_bytes())
        assert len(contents) == 1

    def test_there_may_be_none(self, tmp_path: Path) -> None:
        assert read_prior(tmp_path, "abc", 2) is None

    def test_of_other_weights(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        with pytest.raises(StalePrior, match=r"fit it again: python -m models.evaluate .* --fit-prior"):
            read_prior(tmp_path, "other", 2)
        with pytest.raises(StalePrior):  # whose latents may have another size
            read_prior(tmp_path, "other", 3)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"weights": None}, "should have means, scale, weights"),
            ({"extra": WEIGHTS.clone()}, "should have means, scale, weights"),
            ({"weights": WEIGHTS[:2]}, "do not fit 2 latent dimensions"),
            ({"weights": WEIGHTS[:0], "means": MEANS[:0], "scale": FULL[:0]}, "do not fit 2 latent dimensions"),
            ({"means": MEANS[:, :1]}, "do not fit 2 latent dimensions"),
            ({"scale": FULL[:, :, :1]}, "do not fit 2 latent dimensions"),
            ({"weights": WEIGHTS * 2}, "sum 1"),
            ({"weights": torch.tensor([1.5, -0.5, 0.0])}, "positive"),
            ({"scale": -FULL}, "positive"),
            ({"scale": FULL.mT}, "lower triangular"),
            ({"means": MEANS * torch.inf}, "not finite"),
            ({"metadata": {"format_version": "2"}}, "format version 2"),
            ({"metadata": {"fitted": "{"}}, "'fitted' is not JSON"),
            ({"metadata": {"fitted": "[]"}}, "'fitted' must be an object, not \\[\\]"),
            ({"labels": torch.tensor([0, 1, 0])}, "'labels' is not JSON"),
            ({"labels": torch.tensor([0, 1, 0]), "metadata": {"labels": '{"a": 1}'}}, "not a list of different strings"),
            ({"labels": torch.tensor([0, 1, 0]), "metadata": {"labels": '["a", "a"]'}}, "not a list of different strings"),
            ({"labels": torch.tensor([0, 1, 0]), "metadata": {"labels": '["a", "b", "c"]'}}, "every whole number from 0 to 2"),
            ({"labels": torch.tensor([0, 1, -1]), "metadata": {"labels": '["a", "b"]'}}, "every whole number from 0 to 1"),
            ({"labels": torch.tensor([0, 1]), "metadata": {"labels": '["a", "b"]'}}, "should be torch.int64"),
            ({"labels": WEIGHTS.clone(), "metadata": {"labels": '["a", "b"]'}}, "should be torch.int64"),
        ],
    )
    def test_with_a_defect(self, tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
        changed = {k: v.contiguous() if isinstance(v, torch.Tensor) else v for k, v in changed.items()}
        self.write(tmp_path, **changed)
        with pytest.raises(CheckpointError, match=reason) as caught:
            read_prior(tmp_path, "abc", 2)
        assert str(tmp_path / PRIOR) in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 40])
    def test_that_is_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / PRIOR).write_bytes(content)
        with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
            read_prior(tmp_path, "abc", 2)
