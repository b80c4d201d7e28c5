"""Real digits, one thread and one seed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data import Items


@pytest.fixture(scope="session")
def digits_npz() -> Path:
    """256 MNIST test digits as `--data npz:PATH` takes them."""
    return Path(__file__).parents[1] / "data" / "digits.npz"


@pytest.fixture(scope="session")
def penguins() -> Path:
    """344 penguins as `--data csv:PATH` takes them."""
    return Path(__file__).parents[1] / "data" / "penguins.csv"


@pytest.fixture(scope="session")
def digits(digits_npz: Path) -> Items:
    """The same as tensors: x uint8 (256, 1, 28, 28)."""
    with np.load(digits_npz) as arrays:
        return Items(torch.from_numpy(arrays["images"][:, None]), torch.from_numpy(arrays["labels"].astype(np.int64)))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Sums are split over threads: only equal numbers of them give equal bits, here and in subprocesses."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
