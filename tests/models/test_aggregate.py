"""EM: against direct sums, the likelihood that never falls, and mixtures that are found again."""

import math
import re
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from models.aggregate import (
    FLOOR,
    SHRINKAGE,
    Covariance,
    TooFewSamples,
    choose_mixture,
    draw_posteriors,
    fit_labelled,
    fit_mixture,
    fit_prior,
    why_no_labels,
)
from models.data import Items
from models.mixture import GaussianMixture
from models.vae import VAE, VAEConfig

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 6.0], [-6.0, 0.0], [5.0, -4.0]], dtype=torch.float64)
SCALE = torch.tensor([[[1.0, 0.0], [0.5, 0.6]], [[0.5, 0.0], [-0.4, 1.5]], [[0.9, 0.0], [0.0, 0.7]]], dtype=torch.float64)
TRUE = GaussianMixture(WEIGHTS, MEANS, SCALE)


def draws(n: int, mixture: GaussianMixture = TRUE) -> Tensor:
    return mixture.sample(torch.randn(n, mixture.latent_dim, dtype=torch.float64), torch.rand(n, dtype=torch.float64))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_one_component_has_the_moments_of_the_draws(covariance: Covariance) -> None:
    z = draws(500)
    mixture = fit_mixture(z, 1, covariance)
    torch.testing.assert_close(mixture.means[0], z.mean(0))
    scale = mixture.scale[0] if covariance == "full" else torch.diag(mixture.scale[0])
    expected = z.T.cov(correction=0) + FLOOR * torch.eye(2)
    torch.testing.assert_close(scale @ scale.T, expected if covariance == "full" else torch.diag(expected.diagonal()))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_likelihood_never_falls_and_is_that_of_the_mixture(covariance: Covariance) -> None:
    z, found = draws(3000), list[float]()
    mixture = fit_mixture(z, 7, covariance, 0, found.append)
    assert len(found) > 3
    assert all(after >= before - 1e-3 for before, after in pairwise(found))
    assert float(mixture.log_prob(z).mean()) == pytest.approx(found[-1], abs=1e-9)
    assert float(mixture.weights.sum()) == pytest.approx(1)


def test_a_sweep_is_the_textbook_s() -> None:
    """One more sweep of a fitted mixture, by loops over draws and components, leaves it where it is."""
    z = draws(300)
    mixture = fit_mixture(z, 3)
    r = (mixture.component_log_prob(z) - mixture.log_prob(z)[:, None]).exp()
    spreads = []
    for k in range(3):
        mean = sum(r[n, k] * z[n] for n in range(300)) / r[:, k].sum()
        torch.testing.assert_close(mixture.means[k], mean, rtol=0, atol=0.05)
        spreads.append(sum(r[n, k] * torch.outer(z[n] - mean, z[n] - mean) for n in range(300)))
    common = sum(spreads) / 300
    for k in range(3):
        shrunk = (spreads[k] + 2 * SHRINKAGE * common) / (r[:, k].sum() + 2 * SHRINKAGE)
        covariance = mixture.scale[k] @ mixture.scale[k].T
        torch.testing.assert_close(covariance, shrunk + FLOOR * torch.eye(2), rtol=0.05, atol=0.05)
        assert float(mixture.weights[k]) == pytest.approx(float(r[:, k].mean()), abs=0.01)


def test_many_components_of_few_draws_are_not_thin() -> None:
    """Each component has six draws of N(0, I), too few for a covariance: without SHRINKAGE, new draws have -13.5 nats."""
    z, new = torch.randn(300, 5), torch.randn(2000, 5)
    density = float(fit_mixture(z, 50).log_prob(new.double()).mean())
    assert -9 < density < -7  # -7.1 for N(0, I) itself


def test_a_mixture_is_found_again_and_its_number_of_components_too() -> None:
    fit = choose_mixture(draws(4000), draws(4000), candidates=(1, 2, 3, 4, 8, 16))
    assert max(fit.held_out, key=lambda components: fit.held_out[components]) == len(fit.mixture)
    check = draws(20_000)
    shortfall = float((TRUE.log_prob(check) - fit.mixture.log_prob(check)).mean())
    assert 0 <= shortfall < 0.02
    assert len(fit.mixture) >= 3
    order = fit_mixture(draws(4000), 3).means.sort(0).values
    torch.testing.assert_close(order, MEANS.sort(0).values, rtol=0, atol=0.2)


def test_candidates_end_when_two_in_a_row_are_worse() -> None:
    z = torch.randn(120, 3)
    fit = choose_mixture(z, torch.randn(1000, 3), candidates=(1, 10, 20, 25, 30))
    assert len(fit.mixture) == 1
    assert list(fit.held_out) == [1, 10, 20]


def test_too_few_draws() -> None:
    fit = choose_mixture(torch.randn(30, 3), torch.randn(30, 3), candidates=(1, 2, 50))
    assert list(fit.held_out) == [1, 2]
    with pytest.raises(TooFewSamples, match=r"1 Gaussian over 3 dimensions needs at least 4 .* are 3\. Use more pictures\.$"):
        choose_mixture(torch.randn(3, 3), torch.randn(3, 3))
    needed = (
        "a mixture of 500 Gaussians over 4 dimensions needs at least 2500 draws, 2 from each picture, but there are 136. "
        "Choose at most 27 components, or use more pictures."
    )
    with pytest.raises(TooFewSamples, match=f"^{re.escape(needed)}$"):
        choose_mixture(torch.randn(136, 4), torch.randn(9, 4), candidates=(500,))


def test_equal_draws_keep_a_width() -> None:
    mixture = fit_mixture(torch.ones(50, 2), 3)
    assert mixture.log_prob(torch.ones(1, 2).double()).isfinite().all()
    assert float(mixture.scale.diagonal(dim1=1, dim2=2).min()) == pytest.approx(math.sqrt(FLOOR))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("components", [1, 3])
def test_draws_far_from_0_have_the_mixture_of_draws_at_0(covariance: Covariance, components: int) -> None:
    """Variances as differences of squares lose what is small beside the squared mean, in float32 all of it."""
    z = (draws(400) / 8).round(decimals=3).float() / 4  # of a variance near that of the floor
    near, far = (fit_mixture((z.double() + shift).float(), components, covariance) for shift in (0, 1024))
    torch.testing.assert_close(far.means - 1024, near.means, rtol=0, atol=1e-3)
    torch.testing.assert_close(far.scale, near.scale, rtol=1e-2, atol=1e-3)


def test_same_seed_same_mixture() -> None:
    z = draws(500)
    first, second, other = (fit_mixture(z, 5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.means, second.means)
    assert not torch.equal(first.means, other.means)


def test_draws_of_posteriors(digits: Items) -> None:
    vae = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]})).eval()
    vae.requires_grad_(False)
    z = draw_posteriors(vae, digits.x, torch.Generator().manual_seed(1), draws=50)
    assert z.shape == (50 * 256, 2)
    posterior, per_picture = vae.encode(digits.x), z.unflatten(0, (50, 256))
    torch.testing.assert_close(per_picture.mean(0), posterior.mu, rtol=0, atol=5 * float(posterior.sigma.max()) / 50**0.5)
    assert float((per_picture.std(0) / posterior.sigma).mean()) == pytest.approx(1, abs=0.02)
    binary = draw_posteriors(vae, digits.x, torch.Generator().manual_seed(1), draws=1, binarize=True)
    x = torch.bernoulli(digits.x / 255, generator=torch.Generator().manual_seed(1))
    assert float((binary - vae.encode(x).mu).abs().max()) < 6 * float(posterior.sigma.max())


class TestLabels:
    def two_groups(self) -> tuple[Tensor, Tensor]:
        """Samples of label 4 around -5 and of label 9, three times as many, around 5, in two dimensions."""
        labels = torch.tensor([4, 9, 9, 9]).repeat(200)
        return torch.randn(len(labels), 2) + torch.where(labels == 4, -5, 5)[:, None], labels

    def test_each_label_has_components_of_its_own(self) -> None:
        z, labels = self.two_groups()
        mixture, own = fit_labelled(z, labels, 8)
        assert own.tolist() == [4] * 2 + [9] * 6
        torch.testing.assert_close(mixture.weights[own == 4].sum(), torch.tensor(0.25, dtype=torch.float64))
        torch.testing.assert_close(mixture.weights.sum(), torch.tensor(1.0, dtype=torch.float64))
        for label in (4, 9):
            alone = fit_mixture(z[labels == label], int((own == label).sum()))
            torch.testing.assert_close(mixture.means[own == label], alone.means)

    def test_there_are_at_least_as_many_components_as_labels(self) -> None:
        z, labels = self.two_groups()
        fit = choose_mixture(z, z[:100], candidates=(1, 2, 4), labels=labels)
        assert list(fit.held_out) == [3, 4]
        assert fit.labels is not None
        assert set(fit.labels.tolist()) == {4, 9}

    @torch.no_grad()
    def test_labels_of_few_pictures_are_left_out(self, digits: Items) -> None:
        vae = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}))
        assert digits.labels is not None
        two = torch.where(digits.labels == 7, 1, 0)  # 28 of 256 pictures; each needs 15
        for labels, known, reason in (
            (two, True, None),
            (digits.labels, False, "label "),
            (torch.zeros(256, dtype=torch.long), False, "same label"),
        ):
            fit, record = fit_prior(vae, digits.x, digits.x, candidates=(1, 2), labels=labels)
            assert (fit.labels is not None) == known
            assert (reason is None) == ("labels_left_out" not in record)
            assert (reason or "") in record.get("labels_left_out", "")
        few = torch.where(torch.arange(256) < 14, 1, 0)
        _, record = fit_prior(vae, digits.x, digits.x, candidates=(1,), labels=few, classes=["cat", "dog"])
        assert record["labels_left_out"] == (
            "label dog has 14 pictures, and with 2 latent dimensions each needs 15; more pictures, or a --latent-dim of at "
            "most 1, would help"
        )
        assert why_no_labels(torch.tensor([3, 4, 4]), 5) == (
            "label 3 has 1 picture, and with 5 latent dimensions each needs 30; more pictures would help"
        )
        assert why_no_labels(few, 1) == ""  # A --latent-dim of 1 does help.
