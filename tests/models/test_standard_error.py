"""The standard error over blocks and groups: for independent values the usual one, larger where values of one block agree."""

import pytest
import torch

from models import standard_error
from models.standard_error import clustered, told_error


def test_without_clusters_it_is_the_usual_error() -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    found = clustered(values)
    assert found.value == pytest.approx(float(values.mean()))
    assert found.error == pytest.approx(float(values.std()) / 50**0.5)
    assert found.clusters == 50


def test_of_blocks_of_one_size_it_is_that_of_their_means() -> None:
    values = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)).double()
    found = clustered(values.flatten(), torch.arange(54) // 9)
    assert found.error == pytest.approx(float(values.mean(1).std()) / 6**0.5)
    assert found.clusters == 6


def test_copies_of_a_picture_tell_no_more_than_the_picture() -> None:
    values = torch.tensor([1.0, 4.0, 2.0, 8.0])
    assert clustered(values.repeat(25), torch.arange(100) % 4).error == pytest.approx(clustered(values).error)
    assert clustered(values.repeat(25)).error < clustered(values).error / 4  # type: ignore[operator]


def test_it_is_as_large_as_the_spread_of_means_of_unequal_blocks() -> None:
    noise = torch.Generator().manual_seed(2)
    clusters = torch.repeat_interleave(torch.arange(12), torch.tensor([2, 4, 6] * 4))
    each = torch.randn(3000, 12, generator=noise)[:, clusters] + torch.randn(3000, 48, generator=noise)
    told = torch.tensor([clustered(row, clusters).error for row in each[:500]]).square().mean().sqrt()
    assert float(told) == pytest.approx(float(each.mean(1).std()), rel=0.1)


def test_one_block_has_no_error() -> None:
    assert clustered(torch.tensor([1.0, 3.0]), torch.tensor([5, 5])) == (2.0, None, 1)


def test_what_is_said() -> None:
    assert told_error(3.214, 6, "blocks") == "+- 3.21 (standard error over 6 blocks)"
    assert told_error(3.0, 4, "group") == "+- 3.00 (standard error over 4 groups, fewer than 5, so that it is a rough guess)"
    assert told_error(None, 1, "group") == "(without a standard error, because it rests on 1 group)"
    assert told_error(1.0, 2000, "random") == "+- 1.00 (standard error over 2,000 pictures)"
    assert standard_error.told({}) == ""
    record = standard_error.record(-80.0, 1.5, torch.tensor([0, 0, 1, 2, 3, 4]))
    line = "validation: the ELBO of 6 pictures is -80.00 +- 1.50 (standard error over 5 blocks)"
    assert standard_error.told({**record, "training": {"validation_split": "blocks"}}) == line
