"""The distribution over sequences: its two ways to compute agree, its draws are from it, and padding changes nothing."""

import pytest
import torch
from torch import Tensor

from models.nets.lstm import END
from models.sequences import Autoregressive
from models.vae import VAE, VAEConfig

POINTS = VAEConfig((12, 3), 4, "lstm", {"outputs": 3 + 6 * 5, "encoder": 16, "decoder": 24}, "mixture", kind="strokes")
TOKENS = VAEConfig((12,), 4, "lstm", {"outputs": 7, "encoder": 16, "decoder": 24, "embedding": 8}, "categorical", kind="text")
BOTH = pytest.mark.parametrize("config", [POINTS, TOKENS], ids=["points", "tokens"])


def built(config: VAEConfig, z: Tensor) -> tuple[VAE, Autoregressive]:
    vae = VAE(config).eval().requires_grad_(False)
    likelihood = vae.decode(z)
    assert isinstance(likelihood, Autoregressive)
    return vae, likelihood


def drawn(likelihood: Autoregressive, rows: int, temperature: float = 1.0, seed: int = 0) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    uniforms = torch.rand(rows, 12, likelihood.steps.noise, generator=noise)
    return likelihood.draw(uniforms, torch.full((rows,), temperature))


def ends(x: Tensor) -> Tensor:
    """Return the number of steps before the end of each row."""
    going_on = x != 0 if x.dim() == 2 else x[..., 2] < END
    return going_on.cumprod(1).sum(1)


@BOTH
def test_one_step_at_a_time_gives_the_same_likelihood_as_teacher_forcing(config: VAEConfig) -> None:
    _, likelihood = built(config, 2 * torch.randn(30, 4))
    x = drawn(likelihood, 30)
    assert len(ends(x).unique()) > 3
    state = likelihood.decoding.start()
    previous, total, alive = likelihood.steps.end(state), torch.zeros(30), torch.ones(30, dtype=torch.bool)
    for i in range(13):
        output, state = likelihood.decoding.step(state, previous)
        output = likelihood.steps.without_end(output) if i == 0 else output
        previous = x[:, i] if i < 12 else likelihood.steps.end(state)
        total += torch.where(alive, likelihood.steps.log_prob(output, previous), 0.0)
        alive &= ~likelihood.steps.is_end(previous)
    torch.testing.assert_close(likelihood.log_prob(x), total, rtol=1e-5, atol=1e-4)


@BOTH
def test_padding_changes_neither_posterior_nor_likelihood(config: VAEConfig) -> None:
    z = 2 * torch.randn(20, 4)
    vae, likelihood = built(config, z)
    x = drawn(likelihood, 20)
    mu, log_prob = vae.encode(x).mu, likelihood.log_prob(x)
    for i, length in enumerate(ends(x).tolist()):
        short = x[i : i + 1, : max(1, length)]
        torch.testing.assert_close(vae.encode(short).mu[0], mu[i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(vae.decode(z[i : i + 1]).log_prob(short)[0], log_prob[i], rtol=1e-5, atol=1e-4)
        garbage = x.clone()
        garbage[i, length + 1 :] = 1  # after the end
        torch.testing.assert_close(vae.encode(garbage).mu[i], mu[i], rtol=0, atol=0)


@BOTH
def test_every_step_and_the_order_reach_the_posterior(config: VAEConfig) -> None:
    vae = VAE(config).eval().requires_grad_(False)
    x = torch.randint(1, 7, (1, 9)) if config is TOKENS else torch.cat([torch.randn(1, 9, 2), torch.zeros(1, 9, 1)], 2)
    mu = vae.encode(x).mu
    for i in range(9):
        changed = x.clone()
        changed[0, i] = 1 + (x[0, i] % 6) if config is TOKENS else x[0, i] + torch.tensor([1.0, 0, 0])
        assert not torch.allclose(vae.encode(changed).mu, mu, atol=1e-5)
    assert not torch.allclose(vae.encode(x.flip(1)).mu, mu, atol=1e-5)


@BOTH
@pytest.mark.parametrize("steps", [1, 5, 12])
def test_a_few_steps_at_a_time_give_the_same_rows(config: VAEConfig, steps: int) -> None:
    _, likelihood = built(config, torch.randn(8, 4))
    uniforms, temperature = torch.rand(8, 12, likelihood.steps.noise), torch.linspace(0, 1.5, 8)
    state, parts = likelihood.start(), list[Tensor]()
    previous = likelihood.steps.end(state)
    for block in uniforms.split(steps, 1):
        state, found = likelihood.advance(state, previous, block, temperature)
        previous = found[:, -1]
        parts.append(found)
    whole = likelihood.draw(uniforms, temperature)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=0)
    assert state[:, -1].bool().tolist() == (ends(whole) < 12).tolist()


@BOTH
def test_after_its_end_a_row_stays_ended(config: VAEConfig) -> None:
    _, likelihood = built(config, torch.randn(50, 4))
    x = drawn(likelihood, 50)
    place = torch.arange(12)
    assert bool((likelihood.steps.is_end(x) == (place >= ends(x)[:, None])).all())


@BOTH
def test_a_beginning_is_kept_and_its_noise_changes_nothing(config: VAEConfig) -> None:
    _, likelihood = built(config, torch.randn(40, 4))
    uniforms, temperature = torch.rand(40, 12, likelihood.steps.noise), torch.ones(40)
    whole = likelihood.draw(uniforms, temperature)
    begun = whole.clone()
    begun[:, 3:] = likelihood.steps.end(whole)[:, None].to(whole.dtype)
    others = uniforms.clone()
    others[:, :3] = torch.rand(40, 3, likelihood.steps.noise)  # noise of given steps changes nothing
    long = ends(whole) >= 3
    state = likelihood.start()
    _, found = likelihood.advance(state, likelihood.steps.end(state), others, temperature, begun)
    torch.testing.assert_close(found[long, :3], whole[long, :3], rtol=0, atol=0)
    _, again = likelihood.advance(state, likelihood.steps.end(state), uniforms, temperature, begun)
    torch.testing.assert_close(found[long], again[long], rtol=0, atol=0)
    if config is TOKENS:  # Points draw where a stroke ends when it begins, so that a given beginning draws it again.
        torch.testing.assert_close(found[long], whole[long], rtol=0, atol=0)


@BOTH
def test_no_row_is_empty(config: VAEConfig) -> None:
    vae, likelihood = built(config, torch.randn(200, 4))
    end = 0 if config is TOKENS else 2
    vae.net.get_parameter("head.bias")[end] = 3.0  # most rows end as soon as they may
    lengths = ends(drawn(likelihood, 200))
    assert lengths.min() == 1
    assert lengths.float().mean() < 3


@BOTH
def test_greedy_rows_need_no_noise(config: VAEConfig) -> None:
    _, likelihood = built(config, torch.randn(5, 4))
    torch.testing.assert_close(drawn(likelihood, 5, 0.0, 1), drawn(likelihood, 5, 0.0, 2), rtol=0, atol=0)
    torch.testing.assert_close(drawn(likelihood, 5, 0.0), likelihood.mean, rtol=0, atol=0)
    x = likelihood.sample(torch.randn(5, 12, likelihood.steps.noise))
    assert x.shape[:2] == (5, 12)


def test_probabilities_of_all_texts_add_up_to_one() -> None:
    config = VAEConfig(
        (12,), 4, "lstm", {"outputs": 3, "encoder": 4, "decoder": 8, "embedding": 4}, "categorical", kind="text"
    )
    _, likelihood = built(config, torch.randn(1, 4).expand(62, 4))
    texts = [[int(bit) + 1 for bit in f"{number:0{n}b}"] for n in range(1, 6) for number in range(2**n)]
    x = torch.tensor([text + [0] * (6 - len(text)) for text in texts])
    ended = likelihood.log_prob(x).exp().sum()
    longer = likelihood.steps.is_end(drawn(built_same(likelihood, 20_000), 20_000)[:, :6]).any(1).float().mean()
    assert float(ended) == pytest.approx(float(longer), abs=0.02)


def built_same(likelihood: Autoregressive, rows: int) -> Autoregressive:
    """Return the distribution of one latent, for so many rows."""
    decoding = type(likelihood.decoding)(likelihood.decoding.net, likelihood.decoding.z[:1].expand(rows, -1))  # type: ignore
    return Autoregressive(decoding, likelihood.steps)


def test_word_dropout_hides_inputs_only_in_training() -> None:
    options = {**TOKENS.arch_options, "word_dropout": 0.5}
    vae = VAE(VAEConfig((12,), 4, "lstm", options, "categorical", kind="text"))
    z, x = torch.randn(3, 4), torch.randint(1, 7, (3, 12))
    assert not torch.equal(vae.decode(z).log_prob(x), vae.decode(z).log_prob(x))
    vae.eval()
    assert torch.equal(vae.decode(z).log_prob(x), vae.decode(z).log_prob(x))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"outputs": 0}, "outputs must be a positive integer"),
        ({"encoder": 1.5}, "encoder must be a positive integer"),
        ({"word_dropout": 1}, "word_dropout must be a number from 0 to below 1"),
        ({"layers": 2}, "architecture 'lstm': it has the unknown option 'layers'; known options: outputs, encoder"),
    ],
)
def test_options_out_of_range_are_refused(changed: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VAE(VAEConfig((12, 3), 4, "lstm", {**POINTS.arch_options, **changed}, "mixture", kind="strokes"))
