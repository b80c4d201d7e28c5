"""Rows and planes of latents, and the directions that change a picture most, against independent computations."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from models.evaluate import pictures
from service.latents import traversal
from service.latents.traversal import DEFAULT_SPAN, along, even_steps, percentiles, plane, principal_directions, probes


@pytest.mark.parametrize("steps", [2, 3, 8, 11])
@pytest.mark.parametrize("span", [0.5, DEFAULT_SPAN, 8.0])
def test_percentiles_are_even_in_probability(steps: int, span: float) -> None:
    values = percentiles(steps, span)
    shares = norm.cdf(values)
    np.testing.assert_allclose(np.diff(shares), np.full(steps - 1, (shares[-1] - shares[0]) / (steps - 1)), rtol=1e-9)
    assert values[0] == pytest.approx(-span, rel=1e-6)
    np.testing.assert_array_equal(values, -values[::-1])
    assert norm.cdf(DEFAULT_SPAN) == pytest.approx(0.99, abs=1e-12)


def test_even_steps_are_symmetric() -> None:
    assert even_steps(5, 3.0).tolist() == [-3, -1.5, 0, 1.5, 3]
    np.testing.assert_allclose(even_steps(4, 1.0), [-1, -1 / 3, 1 / 3, 1], rtol=1e-15)


def test_the_plane_is_that_of_the_evaluation() -> None:
    found = plane(np.zeros(2), 0, 1, percentiles(pictures.MANIFOLD_SIDE))
    np.testing.assert_allclose(found, pictures.plane().numpy(), atol=2e-6)


def test_a_plane_keeps_the_other_dimensions() -> None:
    found = plane(np.arange(4.0), 3, 1, np.array([-1.0, 0, 1])).reshape(3, 3, 4)
    assert (found[..., 0] == 0).all()
    assert (found[..., 2] == 2).all()
    assert found[0, :, 3].tolist() == [-1, 0, 1]  # to the right
    assert found[:, 0, 1].tolist() == [1, 0, -1]  # from the top down, so that it grows upwards


def test_a_row_changes_one_coordinate_only() -> None:
    point, values = np.array([0.3, -0.7, 1.1]), np.array([[-2.0, 0, 2]])
    one = along(point, np.eye(3)[[1]], values)[0]
    np.testing.assert_array_equal(one[:, [0, 2]], np.tile(point[[0, 2]].astype(np.float32), (3, 1)))
    np.testing.assert_array_equal(one[:, 1], values[0])
    direction = np.array([[0.6, 0.8, 0]])
    turned = along(point, direction, values)[0].astype(np.float64)
    np.testing.assert_allclose(turned @ direction[0], values[0], atol=1e-6)  # its coordinate is the value
    np.testing.assert_allclose(turned @ [0.8, -0.6, 0], np.full(3, point @ [0.8, -0.6, 0]), atol=1e-6)
    np.testing.assert_allclose(turned[:, 2], 1.1, rtol=1e-6)


def test_principal_directions_are_those_of_the_jacobian() -> None:
    """Of a decoder that is known, with its Jacobian by automatic differentiation."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(30, 4, generator=generator) * torch.tensor([3.0, 1, 0.5, 0.1])
    z = torch.tensor([0.5, -1, 0.2, 0.7])

    def decode(one: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(0.3 * weight @ one)

    jacobian = torch.autograd.functional.jacobian(decode, z).double()
    _, lengths, vectors = torch.linalg.svd(jacobian)
    latents = probes(z.numpy())
    pixels = np.stack([decode(torch.from_numpy(one)).numpy() for one in latents]).reshape(8, 5, 6, 1)
    found, changes = principal_directions(latents, pixels)
    np.testing.assert_allclose(changes, lengths.numpy(), rtol=0.01)
    np.testing.assert_allclose(np.abs((found * vectors.numpy()).sum(1)), np.ones(4), atol=1e-3)
    np.testing.assert_allclose(found @ found.T, np.eye(4), atol=1e-9)
    assert (found[np.arange(4), np.abs(found).argmax(1)] > 0).all()


def test_a_decoder_that_ignores_its_latent_has_directions_without_change() -> None:
    latents = probes(np.zeros(3, np.float32))
    found, changes = principal_directions(latents, np.zeros((6, 8, 8, 1), np.float32))
    assert changes.tolist() == [0, 0, 0]
    assert np.isfinite(found).all()
    assert latents.dtype == np.float32
    assert np.abs(latents).max() == traversal.PROBE_STEP
