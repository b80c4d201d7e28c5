"""The VAE of every architecture with every likelihood: shapes, gradients, learning, and rows that stand alone."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.checkpoint import load, save
from models.data import Items
from models.distributions import DiagonalGaussian
from models.kinds import KINDS
from models.objective import evidence_lower_bound
from models.vae import VAE, VAEConfig

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "conv": {"channels": [6, 8], "hidden": 24},
    "gated": {"hidden": [32]},
    "mlp": {"hidden": [32]},
    "residual": {"channels": [6, 8], "hidden": 24},
}
LIKELIHOODS: list[tuple[str, dict[str, Any]]] = [
    ("bernoulli", {}),
    ("continuous_bernoulli", {}),
    ("gaussian", {"sigma": 0.1}),
    ("gaussian", {"sigma": "learned"}),
    ("gaussian", {"sigma": "optimal"}),
]
every_vae = pytest.mark.parametrize(
    ("arch", "likelihood"),
    list(product(ARCHITECTURES, LIKELIHOODS)),
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, (value[0], *value[1].values()))),
)


def build(arch: str = "mlp", likelihood: tuple[str, dict[str, Any]] = LIKELIHOODS[0], channels: int = 1) -> VAE:
    return VAE(VAEConfig((channels, 28, 28), 4, arch, ARCHITECTURES[arch], *likelihood))


def pictures(digits: Items, rows: int, channels: int = 1) -> Tensor:
    return digits.x[:rows].expand(rows, channels, 28, 28)


@every_vae
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_gradients(arch: str, likelihood: tuple[str, dict[str, Any]], channels: int, digits: Items) -> None:
    vae, x = build(arch, likelihood, channels), KINDS["picture"].to_x(pictures(digits, 6, channels))
    posterior = vae.encode(x)
    assert posterior.mu.shape == posterior.sigma.shape == (6, 4)
    p = vae.decode(posterior.mu)
    assert p.mean.shape == p.sample(torch.randn_like(x)).shape == x.shape
    assert ((p.mean >= 0) & (p.mean <= 1)).all()

    terms = evidence_lower_bound(vae, x, torch.randn(6, 4))
    assert terms.log_likelihood.shape == terms.kl.shape == (6,)
    terms.loss().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_vae
def test_learns_one_batch_by_heart(arch: str, likelihood: tuple[str, dict[str, Any]], digits: Items) -> None:
    vae, x = build(arch, likelihood), KINDS["picture"].to_x(pictures(digits, 16)).round()
    optimizer = torch.optim.Adam(vae.parameters(), lr=5e-3)
    errors = []
    for _ in range(60):
        loss = evidence_lower_bound(vae, x, torch.randn(16, 4)).loss()
        with torch.no_grad():
            errors.append(float(((vae.decode(vae.encode(x).mu).mean - x) ** 2).mean()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert errors[-1] < 0.5 * errors[0]


@every_vae
def test_a_saved_one_gives_the_same_bits(
    arch: str, likelihood: tuple[str, dict[str, Any]], digits: Items, tmp_path: Path
) -> None:
    vae, x = build(arch, likelihood), pictures(digits, 6)
    evidence_lower_bound(vae, KINDS["picture"].to_x(x), torch.randn(6, 4))  # moves the variance that "optimal" keeps
    save(tmp_path, vae)
    loaded = load(tmp_path)
    vae.eval()
    assert loaded.config == vae.config
    before, after = vae.encode(x), loaded.encode(x)
    assert torch.equal(before.mu, after.mu)
    assert torch.equal(before.sigma, after.sigma)
    p, q = vae.decode(before.mu), loaded.decode(before.mu)
    assert torch.equal(p.mean, q.mean)
    assert torch.equal(p.log_prob(KINDS["picture"].to_x(x)), q.log_prob(KINDS["picture"].to_x(x)))


@every_vae
def test_a_row_does_not_depend_on_its_batch_mates(arch: str, likelihood: tuple[str, dict[str, Any]], digits: Items) -> None:
    vae, x = build(arch, likelihood).eval(), KINDS["picture"].to_x(pictures(digits, 9))
    together = vae.encode(x)
    pixels, scores = vae.decode(together.mu).mean, vae.decode(together.mu).log_prob(x)
    for i in range(9):
        alone = vae.encode(x[i : i + 1])
        torch.testing.assert_close(alone.mu[0], together.mu[i])
        torch.testing.assert_close(alone.logvar[0], together.logvar[i])
        torch.testing.assert_close(vae.decode(together.mu[i : i + 1]).mean[0], pixels[i])
        torch.testing.assert_close(vae.decode(together.mu[i : i + 1]).log_prob(x[i : i + 1])[0], scores[i])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bytes_and_floats_are_the_same_picture(arch: str, digits: Items) -> None:
    vae, x = build(arch), pictures(digits, 4)
    assert torch.equal(vae.encode(x).mu, vae.encode(x.float() / 255).mu)


def test_pixels_become_floats_from_0_to_1() -> None:
    levels = torch.arange(256).to(torch.uint8)
    assert KINDS["picture"].to_x(levels).dtype == torch.float32
    assert KINDS["picture"].to_x(levels)[[0, 51, 255]].tolist() == pytest.approx([0, 0.2, 1])
    floats = torch.rand(3, dtype=torch.double)
    assert KINDS["picture"].to_x(floats) is floats


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (2, 28, 28, 1), (2, 3, 28, 28), (2, 1, 28, 27), (1, 2, 1, 28, 28)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x must have shape \(B, 1, 28, 28\), not"):
        build().encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"z must have shape \(B, 4\), not"):
        build().decode(torch.zeros(shape))


def test_prior_is_standard_normal() -> None:
    z = torch.randn(3, 4)
    torch.testing.assert_close(build().prior(z).log_prob(z), torch.distributions.Normal(0, 1).log_prob(z).sum(1))


@pytest.mark.parametrize("factor", [1e6, -1e6])
def test_sigma_stays_finite_and_positive(factor: float) -> None:
    vae = build()
    with torch.no_grad():
        for parameter in vae.net.parameters():
            parameter.fill_(0.0)
        next(vae.net.children())[-1].bias.fill_(factor)  # type: ignore[index]  # of mu and logvar
    posterior = vae.encode(torch.zeros(1, 1, 28, 28))
    assert posterior.mu.eq(factor).all()
    assert torch.isfinite(posterior.sigma).all()
    assert (posterior.sigma > 0).all()
    assert torch.isfinite(posterior.kl(DiagonalGaussian.standard(posterior.mu))).all()


def test_distributions_are_single_precision_where_nets_are_not(digits: Items) -> None:
    vae, x = build("conv"), pictures(digits, 4)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x)
        mean = vae.decode(posterior.mu).mean
    assert posterior.mu.dtype == posterior.logvar.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(posterior.mu, vae.encode(x).mu, atol=0.02, rtol=0.05)


def test_a_shape_out_of_json_becomes_a_tuple() -> None:
    assert VAEConfig([1, 5, 6], 2).shape == (1, 5, 6)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 28), (1, 0, 28), (1, 28, -1), (2, 28, 28), (1, 28.0, 28), (1, "28", 28), (True, 1, 1)])
def test_unusable_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"shape must be|1 or 3 channels"):
        VAEConfig(shape, 2)


@pytest.mark.parametrize("latent_dim", [0, -1, 2.0, "2", None, True])
def test_unusable_latent_dims_are_refused(latent_dim: Any) -> None:
    with pytest.raises(ValueError, match="latent_dim"):
        VAEConfig((1, 28, 28), latent_dim)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "unet"}, "unknown architecture 'unet'"),
        ({"arch": "mlp", "arch_options": {"depth": 1}}, "depth"),
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'"),
        ({"likelihood": ["bernoulli"]}, "the likelihood .* must all be strings"),
        ({"likelihood_options": {"sigma": 1.0}}, "sigma"),
    ],
)
def test_unknown_names_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAE(VAEConfig((1, 8, 8), 2, **options))
