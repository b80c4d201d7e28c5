"""The widths of bins, and rounding to them."""

import numpy as np

from service.latents.quantization import dequantize, precision, quantize, scales, widths


def test_a_width_is_the_step_by_the_root_of_the_mean_precision() -> None:
    sigma = np.array([[0.1, 1], [0.1, 0.5]], np.float32)
    np.testing.assert_allclose(widths(precision(sigma), 2), [0.2, 2 / np.sqrt((1 + 4) / 2)], rtol=1e-6)
    assert widths(precision(sigma), 2).dtype == np.float32


def test_rounding_costs_the_same_nats_in_each_dimension() -> None:
    """Half the squared error by sigma^2 is step^2 / 24 on average, in a fine and in a coarse dimension."""
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 1, (20_000, 2)).astype(np.float32) * np.array([0.05, 0.9], np.float32)
    mu = (rng.standard_normal((20_000, 2)) * 3).astype(np.float32)
    width = widths(precision(sigma), 0.8)
    error = dequantize(quantize(mu, width).astype(np.int32), width) - mu
    np.testing.assert_allclose((0.5 * (error / sigma) ** 2).mean(0), 0.8**2 / 24, rtol=0.05)


def test_a_number_is_rounded_to_the_middle_of_its_bin() -> None:
    width = np.array([0.25], np.float32)
    mu = np.array([[0.1], [0.13], [-0.9], [0]], np.float32)
    index = quantize(mu, width)
    np.testing.assert_array_equal(index, [[0], [1], [-4], [0]])
    np.testing.assert_array_equal(dequantize(index.astype(np.int32), width), [[0], [0.25], [-1], [0]])


def test_sharpening_takes_back_what_the_prior_does_in_a_linear_model() -> None:
    """x = z w + noise: mu is the picture's own latent times 1 - sigma^2."""
    sigma = np.sqrt(1 / (1 + np.array([[0.5, 3.0, 100.0]], np.float32) ** 2))
    width = np.ones(3, np.float32)
    np.testing.assert_allclose(scales(precision(sigma), width, 1), 1 / (1 - sigma[0] ** 2), rtol=1e-5)
    np.testing.assert_array_equal(scales(precision(sigma), width, 0), width)
    unused = np.full((1, 3), 1 - 1e-7, np.float32)
    np.testing.assert_allclose(scales(precision(unused), width, 0.25), 2)
