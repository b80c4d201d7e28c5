"""The scaling of latents in all the ways that diffusers' client asks for it."""

import numpy as np
import pytest
import torch

from models.spatial_latents import SpatialLatents
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.diffusers_remote.scaling import Scaling, stated_scaling
from service.formats.errors import Unusable

KNOWN = ("scaling_factor", "shift_factor", "do_scaling")
LATENTS = SpatialLatents(4, 8, scaling_factor=0.5, shift_factor=0.25)
OWN = Scaling((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Scaling()),
        ("do_scaling=False", Scaling()),
        ("do_scaling=True", OWN),
        ("do_scaling=True&shift_factor=3", Scaling((0.5,), (3.0,))),
        ("do_scaling=True&scaling_factor=2", Scaling((2.0,))),
        ("scaling_factor=0.18215", Scaling((0.18215,))),
        ("scaling_factor=0.3611&shift_factor=0.1159", Scaling((0.3611,), (0.1159,))),
        ("shift_factor=0.1159", Scaling((1.0,), (0.1159,))),
    ],
)
def test_what_a_request_states_wins_over_the_model(query: str, expected: Scaling) -> None:
    assert stated_scaling(ClientQuery(query, KNOWN), LATENTS) == expected


@pytest.mark.parametrize("query", ["scaling_factor=0", "scaling_factor=-0.0", "scaling_factor=1e-60"])
def test_latents_are_never_divided_by_zero(query: str) -> None:
    with pytest.raises(UnusableQuery, match="scaling_factor must not be nearer to 0 than 1e-06"):
        stated_scaling(ClientQuery(query, KNOWN), LATENTS)


def test_contradictions_are_refused() -> None:
    with pytest.raises(UnusableQuery, match="do_scaling=false asks for no scaling, but "):
        stated_scaling(ClientQuery("do_scaling=False&shift_factor=1", KNOWN), LATENTS)


def test_latents_are_scaled_as_the_pipelines_scale_them() -> None:
    z, scaling = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)), Scaling((0.3611,), (0.1159,))
    assert scaling.removed(z.numpy()).tobytes() == (z / 0.3611 + 0.1159).numpy().tobytes()
    assert scaling.applied(z.numpy()).tobytes() == ((z - 0.1159) * 0.3611).numpy().tobytes()


def test_no_scaling_changes_no_bit() -> None:
    z = np.array([-0.0, 1e-40, 3e38], np.float32).reshape(1, 1, 1, 3)
    assert Scaling().removed(z).tobytes() == Scaling().applied(z).tobytes() == z.tobytes()


def test_latents_that_become_infinite_are_refused() -> None:
    with pytest.raises(Unusable, match="1 of the 2 numbers of the latents, divided by the scaling factor"):
        Scaling((1e-30,)).removed(np.array([1e10, 1e-10], np.float32).reshape(1, 1, 1, 2))


def test_a_configuration_may_have_numbers_for_each_channel() -> None:
    mean, std = (0.5, -1.0), (2.0, 4.0)
    found = stated_scaling(ClientQuery("do_scaling=True", KNOWN), SpatialLatents(2, 8, 0.5, None, mean, std))
    sent = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    own_mean, own_std = (torch.tensor(numbers).view(1, 2, 1, 1) for numbers in (mean, std))
    z = sent * own_std / 0.5 + own_mean  # as the pipeline of SDXL has it
    np.testing.assert_allclose(found.removed(sent.numpy()), z, rtol=1e-6)
    np.testing.assert_allclose(found.applied(z.numpy()), sent, rtol=1e-5, atol=1e-6)
