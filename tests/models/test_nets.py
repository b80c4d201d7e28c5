"""Architectures: shapes of every size, options, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from models.kinds import KINDS
from models.nets import build_net
from models.nets.conv import Conv, default_channels
from models.nets.gated import GatedLinear
from models.nets.layers import ACTIVATIONS
from models.nets.net import Net
from models.nets.residual import Block

SMALL: dict[str, dict[str, Any]] = {
    "conv": {"channels": [4, 6], "hidden": 8},
    "gated": {"hidden": [8, 6]},
    "mlp": {"hidden": [8, 6]},
    "residual": {"channels": [4, 6], "hidden": 8},
}
NETS = KINDS["picture"].nets - {"autoencoder_kl"}  # This one, and those of other kinds, have tests of their own.
SIZES = [(1, 1), (5, 1), (1, 9), (2, 3), (3, 2), (7, 7), (13, 31), (28, 28), (72, 72)]


def net(arch: str, **options: Any) -> Net:
    return build_net(arch, (1, 12, 12), 3, SMALL[arch] | options)


def sizes_of(module: Any, kind: type[nn.Linear] | type[nn.Conv2d]) -> list[int]:
    return [layer.weight.shape[0] for layer in module.modules() if isinstance(layer, kind)]


def test_a_net_that_starts_from_the_mean_sees_differences_from_it() -> None:
    conv = Conv((3, 12, 12), 3, [4, 6], hidden=0)
    mean = torch.tensor([0.0, 0.2, 0.9])
    black = torch.zeros(1, 3, 12, 12)
    first, last = conv.encoder[0], conv.decoder[-1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.ConvTranspose2d)
    assert last.bias is not None
    before = first(black)
    conv.start_from(mean)
    after = first(black + mean[:, None, None])
    assert torch.allclose(after[..., 1:-1, 1:-1], before[..., 1:-1, 1:-1], atol=1e-6)  # outside there is padding
    assert torch.allclose(last.bias.sigmoid(), torch.tensor([0.01, 0.2, 0.9]))
    Conv((3, 12, 12), 3, [], hidden=0).start_from(mean)  # Without convolutions nothing is set.


def test_every_architecture_is_tested() -> None:
    assert SMALL.keys() == NETS


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("arch", sorted(NETS))
def test_any_size_comes_back(arch: str, channels: int, size: tuple[int, int]) -> None:
    shape = (channels, *size)
    built = build_net(arch, shape, 5, SMALL[arch])
    mu, logvar = built.encode(torch.rand(2, *shape))
    assert mu.shape == logvar.shape == (2, 5)
    assert built.decode(mu).shape == (2, *shape)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("arch", ["conv", "residual"])
def test_default_convolutions_of_any_size(arch: str, size: tuple[int, int]) -> None:
    built = build_net(arch, (1, *size), 2, {})
    mu, _ = built.encode(torch.rand(1, 1, *size))
    assert built.decode(mu).shape == (1, 1, *size)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((1, 1, 1), [32]),
        ((3, 15, 200), [32]),
        ((1, 16, 16), [32, 64]),
        ((1, 28, 28), [32, 64]),
        ((3, 64, 72), [32, 64, 128, 256]),
        ((3, 256, 256), [32, 64, 128, 256, 256, 256]),
    ],
)
def test_default_channels_bring_the_smaller_side_under_eight(shape: tuple[int, int, int], channels: list[int]) -> None:
    assert default_channels(shape) == channels


def test_more_levels_than_a_size_can_halve() -> None:
    built = build_net("conv", (1, 4, 3), 2, {"channels": [2, 2, 2, 2, 2]})
    assert built.decode(torch.zeros(1, 2)).shape == (1, 1, 4, 3)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("arch", sorted(NETS))
def test_any_number_of_rows(arch: str, rows: int) -> None:
    mu, logvar = net(arch).encode(torch.rand(rows, 1, 12, 12))
    assert mu.shape == logvar.shape == (rows, 3)
    assert net(arch).decode(torch.zeros(rows, 3)).shape == (rows, 1, 12, 12)


def test_widths_are_those_asked_for() -> None:
    mlp = net("mlp", hidden=[7, 5])
    assert sizes_of(mlp, nn.Linear) == [7, 5, 2 * 3, 5, 7, 144]
    conv = net("conv", channels=[4, 6], hidden=9)
    assert sizes_of(conv, nn.Conv2d) == [4, 6]
    assert sizes_of(conv, nn.Linear) == [9, 2 * 3, 9, 6 * 3 * 3]
    gated = net("gated", hidden=[7, 5])
    assert sizes_of(gated, nn.Linear) == [2 * 7, 2 * 5, 2 * 3, 2 * 5, 2 * 7, 144]
    residual = net("residual", channels=[4, 6], blocks=2, hidden=9)
    assert sizes_of(residual.encoder, nn.Conv2d) == [4, *[4] * 4, 6, *[6] * 4]
    assert sizes_of(residual.decoder, nn.Conv2d) == [*[6] * 4, *[4] * 4]
    assert sizes_of(residual, nn.Linear) == [9, 2 * 3, 9, 6 * 3 * 3]


def test_a_gated_layer_by_hand() -> None:
    layer, x = GatedLinear(5, 3), torch.randn(7, 5)
    (a, b), (c, d) = layer.linear.weight.split(3), layer.linear.bias.split(3)
    torch.testing.assert_close(layer(x), (x @ a.T + c) / (1 + torch.exp(-(x @ b.T + d))))


def test_a_residual_block_starts_near_the_identity() -> None:
    x = torch.randn(2, 4, 9, 9)
    assert 0 < (Block(4, "silu")(x) - x).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("arch", "options"),
    [("mlp", {"hidden": []}), ("gated", {"hidden": []}), ("conv", {"hidden": 0}), ("conv", {"channels": []}),
     ("residual", {"hidden": 0}), ("residual", {"channels": []}), ("residual", {"blocks": 0})],
)  # fmt: skip
def test_layers_that_can_be_left_out(arch: str, options: dict[str, Any]) -> None:
    built = net(arch, **options)
    mu, _ = built.encode(torch.rand(2, 1, 12, 12))
    assert built.decode(mu).shape == (2, 1, 12, 12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("arch", sorted(NETS - {"gated"}))
def test_activation_by_name(arch: str, activation: str) -> None:
    kinds = {type(module) for module in net(arch, activation=activation).modules()}
    assert kinds & set(ACTIVATIONS.values()) == {ACTIVATIONS[activation]}


@pytest.mark.parametrize("arch", sorted(NETS))
def test_posterior_and_pixels_are_not_bent_by_an_activation(arch: str) -> None:
    built = net(arch)
    mu, logvar = built.encode(20 * torch.randn(50, 1, 12, 12))
    for output in (mu, logvar, built.decode(20 * torch.randn(50, 3))):
        assert output.min() < 0 < output.max()


def test_dropout_only_while_training() -> None:
    built, x = net("mlp", dropout=0.5), torch.rand(1, 1, 12, 12)
    assert not torch.equal(built.encode(x)[0], built.encode(x)[0])
    built.eval()
    assert torch.equal(built.encode(x)[0], built.encode(x)[0])


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        (
            "transformer",
            {},
            "unknown architecture 'transformer'; known: autoencoder_kl, conv, gated, lstm, mlp, residual, table",
        ),
        (["mlp"], {}, "unknown architecture"),
        ("mlp", {"depth": 3}, "architecture 'mlp': .*depth"),
        ("mlp", {"hidden": 5}, "architecture 'mlp'"),
        ("mlp", {"hidden": [0]}, "hidden widths must be positive integers"),
        ("mlp", {"hidden": [4.5]}, "hidden widths must be positive integers"),
        ("mlp", {"dropout": 1.5}, "dropout"),
        ("mlp", {"dropout": -0.5}, "dropout"),
        ("mlp", {"activation": "gelu?"}, "unknown activation 'gelu\\?'; known: relu"),
        ("mlp", {"activation": ["relu"]}, "architecture 'mlp'"),
        ("conv", {"dropout": 0.5}, "architecture 'conv': .*dropout"),
        ("conv", {"channels": [8, -1]}, "channels must be positive integers"),
        ("conv", {"channels": ["8"]}, "channels must be positive integers"),
        ("conv", {"channels": 8}, "architecture 'conv'"),
        ("conv", {"channels": [4] * 200}, "channels may list at most 128 layers, not 200"),
        ("conv", {"hidden": -1}, "hidden must be an integer from 0 to 1048576, not -1"),
        ("gated", {"hidden": [-3]}, "hidden widths must be positive integers"),
        ("gated", {"activation": "relu"}, "architecture 'gated': .*activation"),
        ("residual", {"blocks": -1}, "blocks must be an integer from 0 to .*, not -1"),
        ("residual", {"channels": [0]}, "channels must be positive integers"),
        ("residual", {"blocks": "1"}, "architecture 'residual'"),
        ("conv", {"hidden": 2.5}, "architecture 'conv'"),
        ("conv", {"activation": "swish"}, "unknown activation 'swish'"),
        ("conv", {"channels": [], "activation": "swish"}, "unknown activation 'swish'"),
    ],
)
def test_what_is_refused(arch: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_net(arch, (1, 8, 8), 2, options)
