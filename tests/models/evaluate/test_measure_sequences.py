"""What a latent of a sequence is worth, measured on nets that were trained for some seconds."""

import pytest
import torch

from models.evaluate.sequences import found_again, number_rows, protocol, sequence_numbers, without_latent
from models.kinds.text import TextFormat
from models.objective import evidence_lower_bound
from models.vae import VAE, VAEConfig

SPEC = TextFormat(4, list("abcdef"))
WORDS = torch.from_numpy(SPEC.rows([a + b for a in "abcdef" for b in "abcdef"], 4))


@pytest.fixture(scope="module")
def spelling() -> VAE:
    """A model that has learnt words of two letters by heart."""
    torch.manual_seed(0)
    options = {"outputs": SPEC.count, "encoder": 16, "decoder": 32, "embedding": 8, "word_dropout": 0.5}
    vae = VAE(VAEConfig((4,), 8, "lstm", options, "categorical", kind="text"))
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    for _ in range(120):
        rows = WORDS[torch.randint(len(WORDS), (32,))]
        loss = evidence_lower_bound(vae, vae.kind.to_x(rows), torch.randn(32, 8)).loss(0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae.eval().requires_grad_(False)


def test_words_are_found_by_what_their_latents_decode_to(spelling: VAE) -> None:
    found = found_again(spelling, WORDS, SPEC)
    assert found["found_again"] > 0.8
    assert found["ended"] > 0.9


def test_a_latent_that_is_not_used_finds_no_more_than_chance() -> None:
    torch.manual_seed(0)
    options = {"outputs": SPEC.count, "encoder": 8, "decoder": 8, "embedding": 4}
    vae = VAE(VAEConfig((4,), 8, "lstm", options, "categorical", kind="text")).eval().requires_grad_(False)
    assert found_again(vae, WORDS, SPEC)["found_again"] < 0.4


def test_the_gain_is_the_difference_from_a_latent_of_zero(spelling: VAE) -> None:
    x = spelling.kind.to_x(WORDS)
    empty = without_latent(spelling, WORDS)
    assert empty == pytest.approx(float(spelling.decode(torch.zeros(len(x), 8)).log_prob(x).mean()), rel=1e-4)
    found = sequence_numbers(spelling, WORDS, SPEC, -1.0, -5.0)
    assert found["latent_gain"] == pytest.approx(-1 - empty)
    assert found["elbo_better_than_zero"] == pytest.approx((-5 - empty) / abs(empty))
    assert empty < -3.5  # two letters of six
    assert "of all 36 by L2" in protocol(36)


def test_the_card_says_in_words_which_is_better() -> None:
    for share, words in ((0.25, "25.00 % better"), (-0.6844, "68.44 % worse: the latent costs more than it adds")):
        rows = number_rows({"sequences": {"elbo_better_than_zero": share}})
        assert rows == [("ELBO against the decoder with z = 0", words)]
