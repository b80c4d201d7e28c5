"""What training chooses by the pictures, and why it says it does."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import load_data
from models.train.arguments import parse
from models.train.choices import LEAST_STEPS, choose
from models.train.kinds.picture_choices import START, mean_values, spread


def flags(*argv: str, data: str = "npz:some.npz") -> argparse.Namespace:
    return parse(["--data", data, "--out", "x", *argv])


def greys(n: int = 50) -> Tensor:
    """Smooth greys, as of photographs."""
    return torch.from_numpy(np.random.default_rng(0).normal(128, 40, (n, 1, 12, 8)).clip(0, 255).astype(np.uint8))


def drawings(n: int = 50) -> Tensor:
    """Lines of 0 on 255."""
    return (torch.rand(n, 1, 12, 8, generator=torch.Generator().manual_seed(0)) > 0.1).to(torch.uint8) * 255


def test_shares_by_hand() -> None:
    x = torch.tensor([0, 255, 128, 20], dtype=torch.uint8).view(1, 1, 2, 2)
    values = [0, 1, 128 / 255, 20 / 255]
    mean = sum(values) / 4
    found = spread(x)
    assert found.middle == 0.25
    assert found.redrawn == pytest.approx(sum(v * (1 - v) for v in values) / 4 / (mean * (1 - mean)))
    assert spread(torch.zeros(2, 1, 3, 3, dtype=torch.uint8)) == (0, 0)


def test_real_digits_are_nearly_binary_whatever_their_file_is_called(digits_npz: Path) -> None:
    x = load_data(f"npz:{digits_npz}", Path()).train.x
    args = flags()
    reasons = choose(args, x, len(x))
    assert args.likelihood == "bernoulli"
    assert "nearly binary" in reasons["likelihood"]


@pytest.mark.parametrize(
    ("x", "more", "likelihood", "reason"),
    [
        (greys(), {}, "gaussian", "gaussian, because the pictures are greys: 99 % of the values lie between 0.1 and 0.9"),
        (drawings(), {}, "bernoulli", "bernoulli, because only 0 % of the values"),
        (greys(), {"data": "fashion-mnist"}, "bernoulli", "as in the published results for fashion-mnist"),
        (greys(), {"data": "mnist"}, "bernoulli", "published"),
        (greys().expand(-1, 3, -1, -1), {}, "gaussian", "colours"),
        (greys(), {"argv": ["--binarize", "dynamic"]}, "bernoulli", "--binarize dynamic"),
        (greys(), {"argv": ["--preset", "conv"]}, "bernoulli", "as the preset conv has it; but 99 %"),
        (drawings(), {"argv": ["--preset", "conv"]}, "bernoulli", "as the preset conv has it"),
    ],
)
def test_likelihoods(x: Tensor, more: dict[str, Any], likelihood: str, reason: str) -> None:
    args = flags(*more.get("argv", ()), data=more.get("data", "npz:some.npz"))
    reasons = choose(args, x, len(x))
    assert args.likelihood == likelihood
    assert reason in reasons["likelihood"]


def test_a_likelihood_that_is_given_is_taken_without_a_reason() -> None:
    args = flags("--likelihood", "continuous_bernoulli")
    assert "likelihood" not in choose(args, drawings(), 50)
    assert args.likelihood == "continuous_bernoulli"


class TestLength:
    def lengths(self, pictures: int, *argv: str) -> tuple[int | None, int, int]:
        args = flags(*argv)
        choose(args, drawings(), pictures)
        return args.epochs, args.batch_size, args.validate_every

    def test_small_sets_get_small_batches_and_enough_steps(self) -> None:
        epochs, batch, every = self.lengths(171)
        assert epochs is not None
        assert (batch, epochs) == (32, LEAST_STEPS // 5)
        assert epochs / every == 100  # lines in the log

    def test_large_sets_get_50_epochs_of_128(self) -> None:
        assert self.lengths(57_000) == (50, 128, 1)

    def test_fewer_pictures_than_a_batch(self) -> None:
        assert self.lengths(9)[0] == LEAST_STEPS

    def test_flags_win(self) -> None:
        assert self.lengths(171, "--epochs", "3", "--batch-size", "50") == (3, 50, 1)
        assert self.lengths(171, "--steps", "30") == (None, 32, 1)

    def test_presets_win(self) -> None:
        assert self.lengths(171, "--preset", "beta-vae") == (50, 128, 1)


class TestNet:
    def nets(self, x: Tensor, pictures: int, *argv: str, **more: Any) -> tuple[list[int] | None, list[int] | None]:
        args = flags(*argv, data=more.pop("data", "npz:some.npz"))
        choose(args, x, pictures, **more)
        return args.hidden, args.conv_channels

    def test_pictures_of_ones_own_get_latents_without_a_dense_layer(self) -> None:
        assert self.nets(drawings(), 5000) == ([0], None)
        assert self.nets(drawings(), 300, data="folder:x") == ([0], None)

    @pytest.mark.parametrize(
        ("size", "channels"), [((48, 48), None), ((64, 64), [16, 32, 64]), ((105, 105), [16, 32, 64, 64]), ((99, 9), [16])]
    )
    def test_large_pictures_get_few_channels(self, size: tuple[int, int], channels: list[int] | None) -> None:
        assert self.nets(torch.zeros(2, 1, *size, dtype=torch.uint8), 5000)[1] == channels

    def test_the_mean_of_the_pictures_is_that_of_each_channel(self) -> None:
        x = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2500, 3, 2, 2)
        assert mean_values(x).tolist() == pytest.approx([0, 0.2, 1])
        args = flags()
        assert "from the mean of the pictures, 0.00, 0.20, 1.00, so" in choose(args, x, 2500)[START]

    def test_flags_win(self) -> None:
        flags = ("--hidden", "99", "--conv-channels", "4,5")
        assert self.nets(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), 5000, *flags) == ([99], [4, 5])

    @pytest.mark.parametrize("data", ["mnist", "fashion-mnist", "lpc-sprites"])
    def test_known_data_sets_have_the_nets_that_they_had(self, data: str) -> None:
        assert self.nets(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), 5000, data=data) == (None, None)

    @pytest.mark.parametrize("argv", [("--arch", "mlp"), ("--preset", "conv"), ("--init-from", "nowhere")])
    def test_other_nets_stay_as_they_are(self, argv: tuple[str, ...]) -> None:
        assert START not in choose(flags(*argv), torch.zeros(2, 1, 64, 64, dtype=torch.uint8), 5000)

    def test_a_run_of_an_earlier_version_keeps_its_net(self) -> None:
        assert self.nets(torch.zeros(2, 1, 64, 64, dtype=torch.uint8), 5000, resumed=True) == (None, None)


def test_what_is_chosen_is_kept_when_the_run_is_resumed() -> None:
    args = flags()
    first = choose(args, greys(), 50)
    again = choose(args, drawings(), 50)
    assert again == first
    assert args.likelihood == "gaussian"
