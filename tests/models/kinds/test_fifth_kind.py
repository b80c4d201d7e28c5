"""A kind that only this test knows: it is trained, resumed, measured and read without an edit anywhere else."""

import json
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.calibration import read_calibration
from models.checkpoint import read
from models.data.items import Splits
from models.data.sources import SOURCES, Source
from models.data.splitting import split
from models.evaluate.__main__ import main as evaluate
from models.golden import read_golden
from models.kinds import KINDS
from models.kinds.kind import Kind, Shape
from models.readers.download import DataError
from models.readers.found import Found
from models.readers.read_options import ReadOptions
from models.train.__main__ import main as train
from models.train.kinds import TRAINING
from models.train.kinds.training import Training
from models.train.run import Run

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

WIDTH = 8


@dataclass(frozen=True)
class Scaling:
    """Rows are scaled to [0, 1]: value * (high - low) + low gives the raw number."""

    low: float
    high: float
    width: int = WIDTH

    @property
    def shape(self) -> Shape:
        return (self.width,)

    def stored(self) -> dict[str, Any]:
        return asdict(self)


class Measurement(Kind):
    """Rows of 8 numbers, as of instruments; NaN never occurs."""

    name: ClassVar[str] = "measurement"
    one: ClassVar[str] = "a measurement"
    many: ClassVar[str] = "measurements"
    nets: ClassVar[frozenset[str]] = frozenset(("mlp", "gated"))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("gaussian",))
    row_dtype: ClassVar[str] = "float32"

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] < 100:
            raise ValueError("shape must be one positive integer below 100")

    def preprocessing(self, **stored: Any) -> Scaling:
        return Scaling(**stored)

    def default_preprocessing(self, shape: Shape) -> Scaling:
        return Scaling(0.0, 1.0, shape[0])

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows

    def pictures(self, items: NDArray[Any], spec: Any) -> NDArray[np.uint8]:
        """Draw a bar for each number."""
        heights = np.arange(16)[::-1, None] / 16
        return (np.repeat((items[:, None, :] > heights) * 255, 2, axis=2)[..., None]).astype(np.uint8)


def read_numbers(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read a file of numbers in lines."""
    options = options or ReadOptions()
    try:
        raw = np.loadtxt(rest, np.float32)
    except OSError as error:
        raise DataError(f"{rest}: {error}") from None
    spec = options.model or Scaling(float(raw.min()), float(raw.max()), raw.shape[1])
    rows = (raw - spec.low) / (spec.high - spec.low)
    summary = [f"{rest}: {len(rows)} measurements"]
    found = Found(np.ascontiguousarray(rows, np.float32), None, None, None, {}, spec, summary, kind="measurement")
    return split(found, options.hold_out, options.validation)


class MeasurementTraining(Training):
    kind: ClassVar[Kind] = Measurement()
    defaults: ClassVar[dict[str, Any]] = {"arch": "mlp", "hidden": [32], "likelihood": "gaussian"}

    def options(self, args: "argparse.Namespace") -> ReadOptions:
        return ReadOptions(hold_out=args.validation_split, validation=args.validation)


@pytest.fixture(autouse=True)
def _fifth_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    training = MeasurementTraining()
    monkeypatch.setitem(KINDS, "measurement", training.kind)
    monkeypatch.setitem(TRAINING, "measurement", training)
    monkeypatch.setitem(SOURCES, "numbers:", Source("measurement", read_numbers, (".dat",)))


@pytest.fixture
def data(tmp_path: Path) -> str:
    """600 measurements that depend on two hidden numbers."""
    noise = np.random.default_rng(0)
    hidden, mixing = noise.normal(size=(600, 2)), noise.normal(size=(2, WIDTH))
    np.savetxt(tmp_path / "x.dat", 50 + 10 * (hidden @ mixing + 0.1 * noise.normal(size=(600, WIDTH))))
    return f"numbers:{tmp_path / 'x.dat'}"


def run(out: Path, data: str, *more: str) -> int:
    fixed = ["--latent-dim", "2", "--batch-size", "32", "--no-snapshots", "--device", "cpu", "--lr", "0.01", "--threads", "1"]
    return train(["--data", data, "--out", str(out), *fixed, *more])


def stopping(step: Callable[..., Any], last: int) -> Callable[..., Any]:
    """Return a step of the training that lets the user stop the run at one step, within an epoch."""

    def stopped(self: Run, x: "Tensor", number: int) -> Any:
        if number == last:
            signal.raise_signal(signal.SIGINT)
        return step(self, x, number)

    return stopped


def test_it_is_trained_resumed_measured_and_read(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(whole, data, "--epochs", "20") == 0
    said = capsys.readouterr().out
    assert "measurements: 513 to train on, 27 for validation, 60 for the test, 8 values each" in said
    assert "0 of 27 validation measurements are equal to one in training" in said
    assert "measurements/s" in said
    assert "picture" not in said

    checkpoint = read(whole)
    assert checkpoint.manifest.model.kind == "measurement"
    assert checkpoint.manifest.model.arch == "mlp"
    assert checkpoint.manifest.preprocessing.low < 50 < checkpoint.manifest.preprocessing.high
    assert "size" not in checkpoint.manifest.data["training"]  # a flag of pictures
    with Image.open(whole / "run" / "samples-0001.png") as image:
        assert image.size == (8 * 18 - 2, 8 * 18 - 2)  # 64 samples

    with monkeypatch.context() as patched:
        patched.setattr(Run, "step", stopping(Run.step, 100))
        assert run(parts, data, "--epochs", "20") == 130
    assert train(["--out", str(parts), "--resume"]) == 0
    assert read(parts).digest == checkpoint.digest

    capsys.readouterr()
    assert evaluate([str(whole), "--samples", "5", "--device", "cpu"]) == 0
    assert "measured for pictures only" in capsys.readouterr().err
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["elbo"] > 8  # nats of the density; without latents it is below 7
    assert metrics["active_units"] == 2
    card = (whole / "README.md").read_text()
    assert "measurements" in card
    assert "picture" not in card.replace("measured for pictures only", "")
    golden = read_golden(whole, checkpoint.digest, checkpoint.manifest.model)
    assert golden is not None
    assert golden.x.dtype == np.float32
    assert golden.x.shape == golden.mean.shape == (10, WIDTH)


def test_flags_and_data_of_other_kinds_are_refused(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", data, "--size", "8") == 1
    assert "--size is for pictures, but --data" in capsys.readouterr().err
    assert run(tmp_path / "out", data, "--arch", "conv") == 1
    assert "models of measurements take the architecture gated or mlp, not 'conv'" in capsys.readouterr().err
    assert run(tmp_path / "out", data.partition(":")[2]) == 1
    assert "it is a file: use --data numbers:" in capsys.readouterr().err


def test_calibration_of_any_rows(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", data, "--epochs", "10", "--validation", "0.2", "--no-fit-prior") == 0
    assert evaluate([str(tmp_path / "out"), "--calibrate", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "default scores: knn, nll" in said
    assert "AUROC of each value from another measurement: " in said
    found = read_calibration(tmp_path / "out", read(tmp_path / "out").digest, 2)
    assert found is not None
    assert found.record["auroc"]["nll"]["each value from another measurement"] > 0.8
    assert evaluate([str(tmp_path / "out"), "--data", "mnist"]) == 1
    assert "mnist has pictures, and the model is one of measurements" in capsys.readouterr().err
