"""The moving average of parameters: its values, its use, and its way through a file."""

import pytest
import torch
from torch import nn

from models.train.averaging import Average


def test_values_by_a_loop() -> None:
    module = nn.Linear(3, 2)
    average = Average(module, 0.5)
    expected = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for step in range(20):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = {name: decay * expected[name] + (1 - decay) * p.detach() for name, p in module.named_parameters()}
    torch.testing.assert_close(average.state(), expected)


def test_applied_and_taken_back() -> None:
    module = nn.Linear(3, 2)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.add_(1)
    average.update(0)
    raw = module.weight.detach().clone()
    with average.applied():
        assert torch.equal(module.weight, average.state()["weight"])
        assert not torch.equal(module.weight, raw)
    assert torch.equal(module.weight, raw)


def test_without_a_decay_it_does_nothing() -> None:
    module = nn.Linear(3, 2)
    average, before = Average(module, 0.0), module.weight.detach().clone()
    average.update(0)
    with average.applied():
        assert torch.equal(module.weight, before)
    assert average.state() == {}


def test_it_comes_back() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    average, other = Average(first, 0.9), Average(second, 0.9)
    other.restore(average.state())
    with other.applied():
        assert torch.equal(second.weight, first.weight)
    with pytest.raises(KeyError):
        other.restore({})
