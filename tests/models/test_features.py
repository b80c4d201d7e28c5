"""The net of features: the same for the same seed, what its protocol says, and better than chance with labels."""

import pytest
import torch
from torch import nn

from models import features
from models.data import Items
from models.features import FEATURES, feature_net, prepared

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STEPS", 60)


def test_a_classifier_learns_the_labels_and_is_the_same_for_the_same_seed(digits: Items) -> None:
    nets = [feature_net(digits.x, digits.labels, seed, CPU) for seed in (1, 1, 2)]
    found = [net.features(digits.x) for net in nets]
    assert found[0].shape == (256, FEATURES)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert digits.labels is not None
    assert float(torch.eq(nets[0].labels(found[0]), digits.labels).float().mean()) > 0.9


@pytest.mark.parametrize(("count", "steps"), [(200, 100), (1000, 200), (14_999, 2999), (15_000, 3000), (20_000, 3000)])
def test_small_sets_get_fewer_steps(count: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STEPS", 3000)
    taken = []
    monkeypatch.setattr(features, "_train", lambda *args: taken.append(args[3]))
    net = feature_net(torch.zeros(count, 1, 4, 4, dtype=torch.uint8), torch.arange(count) % 2, 0, CPU)
    assert (taken, net.steps) == ([steps], steps)
    assert f"cross-entropy, {steps} steps of 128 pictures in the order of torch.randperm" in net.training


def test_labels_need_not_be_0_to_9(digits: Items) -> None:
    assert digits.labels is not None
    net = feature_net(digits.x, 100 - 3 * digits.labels, 0, CPU)
    assert net.classes.tolist() == [100 - 3 * i for i in reversed(range(10))]
    told = net.labels(net.features(digits.x))
    assert float((told == 100 - 3 * digits.labels).float().mean()) > 0.9


def test_without_labels_the_net_stays_as_it_was_drawn(digits: Items) -> None:
    net = feature_net(digits.x, None, 5, CPU)
    assert (net.head, len(net.classes)) == (None, 0)
    with pytest.raises(ValueError, match="no classifier"):
        net.labels(torch.zeros(1, FEATURES))
    noise = torch.Generator().manual_seed(5)
    first = nn.init.kaiming_normal_(torch.empty(32, 1, 5, 5), nonlinearity="relu", generator=noise)
    second = nn.init.kaiming_normal_(torch.empty(64, 32, 3, 3), nonlinearity="relu", generator=noise)
    dense = nn.init.kaiming_normal_(torch.empty(FEATURES, 64 * 49), nonlinearity="relu", generator=noise)
    x = torch.conv2d(digits.x[:9] / 255, first, stride=2, padding=2).relu()
    x = torch.conv2d(x, second, stride=2, padding=1).relu()
    torch.testing.assert_close(net.features(digits.x[:9]), (x.flatten(1) @ dense.T).relu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 12, 16), (3, 200, 90)])
def test_pictures_of_any_size(shape: tuple[int, int, int]) -> None:
    x = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    assert feature_net(x, None, 0, CPU).features(x).shape == (4, FEATURES)
    assert prepared(x).shape == (4, shape[0], min(64, shape[1]), min(64, shape[2]))
    torch.testing.assert_close(prepared(x).mean((2, 3)), (x / 255).mean((2, 3)), rtol=0, atol=0.02)
