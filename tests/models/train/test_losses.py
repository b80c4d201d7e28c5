"""Every objective against a direct computation by torch.distributions and loops, as its paper writes it."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from models.data import Items
from models.objective import evidence_lower_bound
from models.train.losses import (
    Autoencoder,
    BetaElbo,
    BetaTC,
    DoublyReparameterized,
    FreeBits,
    Iwae,
    KLOnly,
    Objective,
)
from models.train.objectives import OBJECTIVES, Wishes
from models.vae import VAE, VAEConfig

ROWS, DIM, K, N = 6, 3, 4, 219


@pytest.fixture(params=["standard", "vamp"])
def prior(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(prior: str = "standard") -> VAE:
    options = {"pseudo_inputs": 5} if prior == "vamp" else {}
    vae = VAE(VAEConfig((1, 28, 28), DIM, "mlp", {"hidden": [16]}, prior=prior, prior_options=options))
    with torch.no_grad():
        for parameter in vae.net.parameters():
            parameter.mul_(3)  # posteriors that differ from each other and from the prior
    return vae.double().eval()


@pytest.fixture
def x(digits: Items) -> Tensor:
    return (digits.x[:ROWS].float() / 255).round().double()


@pytest.fixture
def eps() -> Tensor:
    return torch.randn(K, ROWS, DIM, dtype=torch.double)


def total(values: Tensor) -> Tensor:
    """torch.distributions come without types."""
    return values.sum()


class Direct:
    """The terms of one picture and one sample, one at a time."""

    def __init__(self, vae: VAE, x: Tensor, eps: Tensor) -> None:
        mu, logvar = vae.net.encode(x)
        self.posteriors = [Normal(m, (v / 2).exp()) for m, v in zip(mu, logvar, strict=True)]
        self.z = [[q.loc + q.scale * e for q, e in zip(self.posteriors, block, strict=True)] for block in eps]
        self.vae, self.x = vae, x

    def log_likelihood(self, k: int, i: int) -> Tensor:
        logits = self.vae.net.decode(self.z[k][i][None])[0]
        return total(Bernoulli(logits=logits).log_prob(self.x[i]))

    def log_q(self, k: int, i: int) -> Tensor:
        return total(self.posteriors[i].log_prob(self.z[k][i]))

    def log_p(self, k: int, i: int) -> Tensor:
        if self.vae.config.prior == "standard":
            return total(Normal(0.0, 1.0).log_prob(self.z[k][i]))
        mu, logvar = self.vae.net.encode(torch.sigmoid(self.vae.prior_layer.logits))  # type: ignore[arg-type]
        parts = [Normal(m, (v / 2).exp()).log_prob(self.z[k][i]).sum() for m, v in zip(mu, logvar, strict=True)]
        return torch.logsumexp(torch.stack(parts), 0) - math.log(len(parts))

    def kl(self, k: int, i: int) -> Tensor:
        if self.vae.config.prior == "standard":
            return kl_divergence(self.posteriors[i], Normal(torch.zeros(DIM), torch.ones(DIM))).sum()
        return self.log_q(k, i) - self.log_p(k, i)


def every(rows: int = ROWS, samples: int = K) -> list[tuple[int, int]]:
    return [(k, i) for k in range(samples) for i in range(rows)]


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


@pytest.mark.parametrize(("beta", "warm"), [(1.0, 1.0), (4.0, 1.0), (4.0, 0.25), (0.5, 0.0)])
def test_beta_and_its_warm_up(prior: str, x: Tensor, eps: Tensor, beta: float, warm: float) -> None:
    vae = build(prior)
    direct = Direct(vae, x, eps)
    expected = mean([-direct.log_likelihood(k, i) + warm * beta * direct.kl(k, i) for k, i in every()])
    torch.testing.assert_close(BetaElbo(beta)(vae, x, eps, warm).value, expected)


@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0, 100.0])
def test_free_bits(x: Tensor, eps: Tensor, nats: float) -> None:
    vae = build()
    direct = Direct(vae, x, eps)
    standard = Normal(torch.zeros(DIM), torch.ones(DIM))
    per_dimension = torch.stack([kl_divergence(q, standard) for q in direct.posteriors]).mean(0).tolist()
    charged = sum(max(nats, value) for value in per_dimension)
    expected = mean([-direct.log_likelihood(k, i) for k, i in every()]).item() + 0.5 * 2 * charged
    assert FreeBits(nats, beta=2.0)(vae, x, eps, 0.5).value.item() == pytest.approx(expected)


def test_what_is_free_has_no_gradient(x: Tensor, eps: Tensor) -> None:
    """Below the floor the KL does not pull: the encoder hears of the log likelihood alone."""
    gradients = []
    for objective in (FreeBits(1000.0), BetaElbo(0.0)):
        vae = build()
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in vae.parameters():
                parameter.copy_(0.1 * torch.randn_like(parameter))
        objective(vae, x, eps).value.backward()
        gradients.append([parameter.grad for parameter in vae.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("stratified", [False, True])
def test_beta_tc(prior: str, x: Tensor, eps: Tensor, stratified: bool) -> None:
    """Equation 4 with the estimators of equation 5 and appendix C.2, density by density."""
    vae = build(prior)
    direct = Direct(vae, x, eps)
    total = torch.zeros((), dtype=torch.double)
    m = ROWS - 1
    for k, i in every():
        joint = torch.zeros((), dtype=torch.double)
        marginals = torch.zeros(DIM, dtype=torch.double)
        for j in range(ROWS):
            density = direct.posteriors[j].log_prob(direct.z[k][i]).exp()  # (D,)
            if not stratified:
                weight = 1 / (N * ROWS)
            elif j == i:
                weight = 1 / N
            else:  # the row before it stands for all that are not in the batch
                weight = (N - m) / (N * m) if j == (i - 1) % ROWS else 1 / m
            joint = joint + weight * density.prod()
            marginals = marginals + weight * density
        log_joint, log_product = joint.log(), marginals.log().sum()
        information = direct.log_q(k, i) - log_joint
        kl = information + 6 * (log_joint - log_product) + log_product - direct.log_p(k, i)
        total = total - direct.log_likelihood(k, i) + 0.5 * kl
    loss = BetaTC(N, 6.0, stratified)(vae, x, eps, 0.5)
    torch.testing.assert_close(loss.value, total / (ROWS * K))


@pytest.mark.parametrize("stratified", [False, True])
def test_beta_tc_at_beta_one_is_the_elbo_with_a_sampled_kl(prior: str, x: Tensor, eps: Tensor, stratified: bool) -> None:
    vae = build(prior)
    direct = Direct(vae, x, eps)
    elbo = mean([direct.log_likelihood(k, i) + direct.log_p(k, i) - direct.log_q(k, i) for k, i in every()])
    torch.testing.assert_close(BetaTC(N, 1.0, stratified)(vae, x, eps).value, -elbo)


def test_stratified_sampling_is_unbiased_and_weighted_sampling_is_not() -> None:
    """Over all batches of 3 of 5 pictures that hold the first, the mean estimate of q(z) is q(z) itself."""
    mu = torch.tensor([-2.0, -1.0, 0.0, 1.5, 3.0], dtype=torch.double)
    z = torch.tensor(0.3, dtype=torch.double)
    density = Normal(mu, 0.7).log_prob(z).exp()
    others = [(a, b) for a in range(1, 5) for b in range(1, 5) if a != b]
    estimates = {}
    for stratified in (False, True):
        weights = BetaTC(5, stratified=stratified).log_weights(3).double().exp()[0]
        estimates[stratified] = torch.stack([(weights * density[[0, a, b]]).sum() for a, b in others]).mean()
    torch.testing.assert_close(estimates[True], density.mean(), rtol=1e-6, atol=0)
    assert abs(estimates[False] - density.mean()) > 0.01


@pytest.mark.parametrize("warm", [1.0, 0.3])
def test_iwae(prior: str, x: Tensor, eps: Tensor, warm: float) -> None:
    vae = build(prior)
    direct = Direct(vae, x, eps)
    bounds = []
    for i in range(ROWS):
        weights = [direct.log_likelihood(k, i) + warm * (direct.log_p(k, i) - direct.log_q(k, i)) for k in range(K)]
        bounds.append(torch.logsumexp(torch.stack(weights), 0) - math.log(K))
    expected = -mean(bounds)
    torch.testing.assert_close(Iwae()(vae, x, eps, warm).value, expected)


def test_gradients_of_iwae_are_those_of_normalised_weights(x: Tensor, eps: Tensor) -> None:
    """Burda et al. 2016, equation 13: the gradient is the weighted mean of each log weight's gradient."""
    vae = build()
    direct = Direct(vae, x, eps)
    surrogate = torch.zeros((), dtype=torch.double)
    for i in range(ROWS):
        weights = torch.stack([direct.log_likelihood(k, i) + direct.log_p(k, i) - direct.log_q(k, i) for k in range(K)])
        surrogate = surrogate - (torch.softmax(weights.detach(), 0) * weights).sum() / ROWS
    expected = torch.autograd.grad(surrogate, list(vae.parameters()))
    found = torch.autograd.grad(Iwae()(vae, x, eps).value, list(vae.parameters()))
    torch.testing.assert_close(found, expected)


def encoder_gradient(value: Tensor, vae: VAE) -> Tensor:
    encoder = [parameter for name, parameter in vae.named_parameters() if "encoder" in name]
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(value, encoder)])


def test_doubly_reparameterized_gradients_of_the_encoder(x: Tensor, eps: Tensor) -> None:
    """Tucker et al. 2019, equation 8: squared weights times the gradient of log w by z times that of z, sample by sample."""
    vae = build()
    direct = Direct(vae, x, eps)
    surrogate = torch.zeros((), dtype=torch.double)
    for i in range(ROWS):
        mu, sigma = direct.posteriors[i].loc.detach(), direct.posteriors[i].scale.detach()
        logs, slopes = [], []
        for k in range(K):
            z = direct.z[k][i].detach().requires_grad_()
            log_p = total(Bernoulli(logits=vae.net.decode(z[None])[0]).log_prob(x[i])) + total(Normal(0.0, 1.0).log_prob(z))
            logs.append(log_p - total(Normal(mu, sigma).log_prob(z)))
            slopes += torch.autograd.grad(logs[-1], z)
        for share, slope, k in zip(torch.softmax(torch.stack(logs).detach(), 0), slopes, range(K), strict=True):
            surrogate = surrogate - share**2 * (slope * direct.z[k][i]).sum() / ROWS
    found = encoder_gradient(DoublyReparameterized()(vae, x, eps).value, vae)
    torch.testing.assert_close(found, encoder_gradient(surrogate, vae))


def test_only_the_gradient_of_the_encoder_differs_from_iwae(prior: str, x: Tensor, eps: Tensor) -> None:
    """Value, decoder and prior are those of the plain bound. A VampPrior's part of the encoder's gradient is the prior's."""
    vae = build(prior)
    plain, double = (objective(vae, x, eps, 0.6).value for objective in (Iwae(), DoublyReparameterized()))
    torch.testing.assert_close(double, plain)
    others = [parameter for name, parameter in vae.named_parameters() if "encoder" not in name]
    torch.testing.assert_close(torch.autograd.grad(double, others), torch.autograd.grad(plain, others))


@pytest.mark.parametrize("warm", [1.0, 0.5])
def test_doubly_reparameterized_gradients_have_the_same_mean_and_less_variance(x: Tensor, warm: float) -> None:
    """Over 1,000 draws, the means agree within five standard errors; the warm-up keeps them unbiased."""
    vae, draws = build(), 1000
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(0.5)  # weights of the samples that are not all 0 and 1
    found = []
    for objective in (Iwae(), DoublyReparameterized()):
        torch.manual_seed(3)
        eps = torch.randn(draws, 8, 1, DIM, dtype=torch.double)
        found.append(torch.stack([encoder_gradient(objective(vae, x[:1], each, warm).value, vae)[-2 * DIM :] for each in eps]))
    plain, double = found
    error = ((plain - double).var(0) / draws).sqrt()
    assert ((plain - double).mean(0).abs() / error < 5).all()
    if warm == 1:
        assert double.var(0).sum() < 0.9 * plain.var(0).sum()


def test_the_contrasts(prior: str, x: Tensor, eps: Tensor) -> None:
    vae = build(prior)
    at_mu = Direct(vae, x, torch.zeros_like(eps))
    torch.testing.assert_close(Autoencoder()(vae, x, eps).value, mean([-at_mu.log_likelihood(0, i) for i in range(ROWS)]))
    sampled = Direct(vae, x, eps)
    torch.testing.assert_close(KLOnly()(vae, x, eps, 0.5).value, 0.5 * mean([sampled.kl(k, i) for k, i in every()]))


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"perceptual"}))  # which needs a classifier, see test_perceptual
def test_the_elbo_that_is_reported_is_the_one_at_beta_one(name: str, x: Tensor) -> None:
    """Whatever is minimised; and it is only reported: no gradient goes through it."""
    vae, eps = build(), torch.randn(1, ROWS, DIM, dtype=torch.double)
    objective: Objective = OBJECTIVES[name](Wishes(beta=7.0, free_bits=1.5, stratified=False, dataset_size=N))
    loss = objective(vae, x, eps, 0.2)
    expected = evidence_lower_bound(vae, x, eps[0])
    torch.testing.assert_close(loss.elbo.elbo, expected.elbo.detach())
    torch.testing.assert_close(loss.elbo.kl, expected.kl.detach())
    assert not loss.elbo.elbo.requires_grad
    assert loss.value.requires_grad


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        (BetaElbo(), None),
        (BetaElbo(4.0), "the effective beta is 4, not 1"),
        (FreeBits(0.5), "a KL of 0.5 nats per dimension is free"),
        (FreeBits(0.5, 2.0), "and the effective beta is 2"),
        (BetaTC(N), None),
        (BetaTC(N, 6.0), "the weight of the total correlation is 6"),
        (Iwae(), None),
        (Iwae(0.5), "the effective beta is 0.5"),
        (DoublyReparameterized(), None),
        (Autoencoder(), "the effective beta is 0"),
        (KLOnly(), "only the KL"),
    ],
    ids=str,
)
def test_a_loss_that_is_not_the_elbo_says_so(objective: Objective, told: str | None) -> None:
    remark = objective.remark()
    assert remark is None if told is None else told in str(remark)


def test_free_bits_need_the_kl_of_each_dimension(x: Tensor, eps: Tensor) -> None:
    with pytest.raises(TypeError, match="Gaussian prior"):
        FreeBits(0.5)(build("vamp"), x, eps)
