"""Strangers made of a model's own pictures, and the numbers that compare them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Items
from models.evaluate.strangers import auroc, strangers, uniformity


@pytest.fixture(scope="module")
def colours() -> Tensor:
    return torch.randint(0, 256, (12, 3, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_each_kind_is_what_its_name_says(digits: Items) -> None:
    x = digits.x[:40]
    found = strangers(x, 0)
    assert set(found) == {
        "inverted", "one colour", "noise", "pixels shuffled", "two mixed", "halves of two", "rotated by 90 degrees",
    }  # fmt: skip
    assert all(made.shape == x.shape and made.dtype == torch.uint8 and made.is_contiguous() for made in found.values())
    assert torch.equal(found["inverted"], 255 - x)
    assert found["one colour"].flatten(1).float().std(1).max() == 0
    assert len(found["one colour"].unique()) > 20
    assert torch.equal(found["pixels shuffled"].flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    assert not torch.equal(found["pixels shuffled"], x)
    assert torch.equal(found["rotated by 90 degrees"][:, 0].transpose(1, 2).flip(2), x[:, 0])
    half = x.shape[2] // 2
    assert torch.equal(found["halves of two"][:, :, half:], x[:, :, half:])
    tops = {bytes(one.numpy().tobytes()) for one in x[:, :, :half]}
    assert all(bytes(one.numpy().tobytes()) in tops for one in found["halves of two"][:, :, :half])
    mixed = [((x[i].int() + x.int() + 1) // 2).eq(found["two mixed"][i]).flatten(1).all(1).any() for i in range(40)]
    assert all(mixed)


def test_colours_are_moved_together_and_only_squares_are_rotated(colours: Tensor) -> None:
    found = strangers(colours, 0)
    assert "rotated by 90 degrees" not in found
    was = sorted(map(tuple, colours[0].flatten(1).T.tolist()))
    assert sorted(map(tuple, found["pixels shuffled"][0].flatten(1).T.tolist())) == was


def test_the_seed_makes_them(colours: Tensor) -> None:
    first, again, other = strangers(colours, 0), strangers(colours, 0), strangers(colours, 1)
    assert all(torch.equal(first[kind], again[kind]) for kind in first)
    assert not torch.equal(first["noise"], other["noise"])


def test_auroc_counts_pairs() -> None:
    usual, unusual = np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 6.0, 0.0])
    pairs = [1.0 if b > a else 0.5 if a == b else 0.0 for a in usual for b in unusual]
    assert auroc(usual, unusual) == pytest.approx(sum(pairs) / 12)
    assert auroc(usual, usual) == 0.5


def test_uniformity_is_the_distance_of_distribution_functions() -> None:
    p = np.array([0.1, 0.4, 0.45, 0.9])
    fine = np.linspace(0, 1, 100_001)
    share = (p[None] <= fine[:, None]).mean(1)
    assert uniformity(p) == pytest.approx(np.abs(share - fine).max(), abs=1e-4)
    assert uniformity((np.arange(1000) + 0.5) / 1000) == pytest.approx(0.0005)
