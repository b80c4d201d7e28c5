"""Noise: the same (seed, item) gives the same eps for ever, on every machine and in every version."""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from service.latents import noise as seeds
from service.latents.noise import MAX_SEED, inverse_normal_cdf, standard_normal

# (seed, item) -> the first four of eps. They may never change: whoever stored a seed relies on them.
VECTORS = {
    (0, 0): ("-0x1.22cd1a0000000p+1", "-0x1.6714740000000p-1", "-0x1.380f160000000p+0", "0x1.4c209a0000000p-3"),
    (0, 1): ("0x1.c7d8900000000p-1", "0x1.5b7caa0000000p-1", "0x1.c723780000000p-2", "-0x1.5aa4020000000p-5"),
    (1, 0): ("-0x1.0740be0000000p-1", "0x1.07e9ca0000000p+0", "-0x1.02ae3e0000000p+0", "-0x1.dd61ee0000000p+0"),
    (7, 3): ("-0x1.6f19760000000p-5", "0x1.30ba500000000p-1", "-0x1.a474080000000p+0", "-0x1.ea0ae00000000p-2"),
    (42, 0): ("0x1.d50dbe0000000p-1", "-0x1.c2e8700000000p-1", "0x1.1d8af60000000p+0", "-0x1.11d0b60000000p-2"),
    (4294967296, 100): ("0x1.4772f80000000p+0", "0x1.bce5d40000000p-7", "-0x1.2e391a0000000p-1", "0x1.3407fe0000000p-1"),
    (MAX_SEED, 0): ("-0x1.ecabf80000000p-3", "-0x1.1020c80000000p-3", "-0x1.7a1cb00000000p-2", "0x1.0739560000000p+0"),
    (MAX_SEED, 4095): ("0x1.9bbafc0000000p-1", "-0x1.44ab720000000p+0", "0x1.7632060000000p-4", "0x1.ef342a0000000p-1"),
}


@pytest.mark.parametrize(("seed", "item"), VECTORS)
def test_eps_is_what_it_always_was(seed: int, item: int) -> None:
    expected = np.array([float.fromhex(number) for number in VECTORS[seed, item]], np.float32)
    np.testing.assert_array_equal(standard_normal(seed, 1, 4, first=item)[0], expected)


@pytest.mark.parametrize(("seed", "item"), VECTORS)
def test_eps_is_the_inverse_cdf_of_philox_words_keyed_by_seed_and_item(seed: int, item: int) -> None:
    words = np.random.Philox(key=np.array([seed, item], np.uint64)).random_raw(50)
    centred = [Fraction(2 * (int(word) >> 12) + 1, 2**53) for word in words]
    assert [Fraction(number) for number in seeds._uniform(words).tolist()] == centred
    expected = np.array([NormalDist().inv_cdf(float(number)) for number in centred], np.float32)
    np.testing.assert_allclose(standard_normal(seed, 1, 50, first=item)[0], expected, rtol=2e-7)


def test_philox_gives_the_words_of_its_paper() -> None:
    """Philox 4x64-10 under key 0: words of counters 1 and 2, of which the first is Random123's for counter (1, 0, 0, 0)."""
    words = [int(word) for word in seeds._words(0, 1, 8, 0)[0]]
    assert words == philox_4x64_10((1, 0, 0, 0), (0, 0)) + philox_4x64_10((2, 0, 0, 0), (0, 0))
    # known answers of Random123, kat_vectors: counter and key all zero, and all ones
    assert philox_4x64_10((0,) * 4, (0,) * 2)[0] == 0x16554D9ECA36314C
    assert philox_4x64_10((2**64 - 1,) * 4, (2**64 - 1,) * 2)[0] == 0x87B092C3013FE90B


def philox_4x64_10(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Salmon et al. 2011, section 3.3, word by word."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (
            (product1 >> 64) ^ c1 ^ k0,
            product1 % 2**64,
            (product0 >> 64) ^ c3 ^ k1,
            product0 % 2**64,
        )
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return [c0, c1, c2, c3]


# --- what a row depends on


def test_a_row_depends_on_seed_and_index_alone() -> None:
    many = standard_normal(7, 16, 5)
    assert many.dtype == np.float32
    assert many.shape == (16, 5)
    np.testing.assert_array_equal(standard_normal(7, 4, 5), many[:4])
    np.testing.assert_array_equal(standard_normal(7, 4, 5, first=9), many[9:13])
    np.testing.assert_array_equal(standard_normal(7, 16, 3), many[:, :3])
    np.testing.assert_array_equal(standard_normal(7, 16, 5), many)


def test_seeds_and_items_do_not_share_noise() -> None:
    eps = np.concatenate([standard_normal(seed, 20, 4) for seed in (0, 1, 2, 2**32, MAX_SEED)])
    assert len(np.unique(eps, axis=0)) == 100


def test_it_has_the_moments_of_a_standard_normal() -> None:
    eps = standard_normal(123, 2000, 100).astype(np.float64)
    assert abs(eps.mean()) < 4 / np.sqrt(eps.size)
    assert abs(eps.var() - 1) < 4 * np.sqrt(2 / eps.size)
    assert abs((eps**3).mean()) < 4 * np.sqrt(15 / eps.size)
    assert abs((eps**4).mean() - 3) < 4 * np.sqrt(96 / eps.size)
    correlation = np.corrcoef(eps[:, :10].T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(eps))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64])
def test_a_seed_that_json_readers_would_change_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"0 to {2**53 - 1}"):
        standard_normal(seed, 1, 1)


def test_a_drawn_seed_is_a_seed() -> None:
    drawn = {seeds.draw_seed() for _ in range(100)}
    assert len(drawn) == 100
    assert 0 <= min(drawn) <= max(drawn) <= MAX_SEED


# --- the inverse normal CDF


@pytest.mark.parametrize(
    "p",
    [
        np.linspace(0, 1, 2001)[1:-1],
        np.logspace(-17, -0.31, 500),
        1 - np.logspace(-15.9, -0.31, 500),
        np.array([2.0**-54, 1 - 2.0**-53, 0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), 0.075, 0.925]),
        np.exp(-np.array([24.9, 25.0, 25.1, 36.0])),  # where the formula for the far tails begins, and beyond
    ],
    ids=["all over", "lower tail", "upper tail", "corners", "seams"],
)
def test_the_inverse_cdf_is_exact_to_14_digits(p: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    expected = [NormalDist().inv_cdf(float(number)) for number in p]
    np.testing.assert_allclose(inverse_normal_cdf(p), expected, rtol=1e-14, atol=1e-17)


def test_the_inverse_cdf_undoes_the_cdf() -> None:
    """By the error function, which is computed in another way; p moves by x^2 times as many digits as x."""
    x = inverse_normal_cdf(np.concatenate([np.logspace(-17, -0.31, 500), [0.5]]))
    back = [math.erfc(-number / math.sqrt(2)) / 2 for number in x.tolist()]
    np.testing.assert_allclose(back, [*np.logspace(-17, -0.31, 500), 0.5], rtol=1e-15 * (2 + 72))


def test_the_inverse_cdf_is_odd_and_increasing() -> None:
    p = np.arange(1, 1024) / 1024  # exact, and so is 1 - p
    np.testing.assert_array_equal(inverse_normal_cdf(p), -inverse_normal_cdf(1 - p))
    assert (np.diff(inverse_normal_cdf(p)) > 0).all()


def test_the_ends_of_what_words_can_give_are_finite() -> None:
    words = np.array([0, 2**64 - 1], np.uint64)
    uniform = seeds._uniform(words)
    assert uniform.tolist() == [2.0**-53, 1 - 2.0**-53]
    np.testing.assert_array_less(np.abs(inverse_normal_cdf(uniform)), 8.4)


def test_each_step_has_words_of_its_own() -> None:
    found = seeds.step_uniform(7, np.array([2, 1 << 33]), 3, 5, 4)
    assert (found.shape, found.dtype.name) == ((2, 5, 4), "float32")
    for row, item in enumerate((2, 1 << 33)):
        for step in range(3, 8):
            one = seeds.step_uniform(7, np.array([item]), step, 1, 4)
            np.testing.assert_array_equal(found[row, step - 3], one[0, 0])
            counter = np.array([step, 0, 0, 2], np.uint64)
            words = np.random.Philox(counter=counter, key=np.array([7, item], np.uint64)).random_raw(4)
            np.testing.assert_array_equal(one[0, 0], seeds._uniform(words).astype(np.float32))
    np.testing.assert_array_equal(seeds.step_uniform(7, np.array([2]), 3, 5, 1), found[:1, :, :1])
    five = seeds.step_uniform(7, np.array([2]), 3, 5, 5)
    np.testing.assert_array_equal(five[0, 2], seeds.step_uniform(7, np.array([2]), 5, 1, 5)[0, 0])
    assert len(np.unique(five)) == 25
    every = seeds.step_uniform(0, np.arange(50), 0, 20, 4)
    assert len(np.unique(every)) > 3990
    assert 0 <= every.min() < every.max() <= 1
    others = np.concatenate([seeds._words(7, 3, 80, 0).ravel(), seeds._words(7, 3, 80, 0, seeds.PIXELS).ravel()])
    assert not np.isin(found, seeds._uniform(others).astype(np.float32)).any()
