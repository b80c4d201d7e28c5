"""The triptych of real little runs: three panels, each with what its decoder is given, and the planes below them."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

from models.checkpoint import Checkpoint, read
from models.data import Items
from models.evaluate import planes, plots
from models.evaluate.triptych import main
from models.train.__main__ import main as train


@pytest.fixture(scope="module", autouse=True)
def _few_dots() -> Iterator[None]:
    before, plots.DPI = plots.DPI, 40
    yield
    plots.DPI = before


@pytest.fixture(scope="module")
def runs(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The three presets, long enough to tell them apart."""
    root = tmp_path_factory.mktemp("triptych")
    short = ["--hidden", "64", "--batch-size", "32", "--steps", "300", "--no-snapshots", "--device", "cpu"]
    for name in ("autoencoder", "kl", "vae"):
        preset = ["--preset", f"triptych-{name}", "--data", f"npz:{digits_npz}"]
        assert train([*preset, *short, "--out", str(root / name)]) == 0
    return [root / name for name in ("autoencoder", "kl", "vae")]


@pytest.fixture(scope="module")
def models(runs: list[Path]) -> list[Checkpoint]:
    return [read(path) for path in runs]


def test_one_command_draws_it(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "triptych.png"
    assert main([*map(str, runs), "--out", str(out), "--dpi", "40"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as image:
        assert image.width > 1.2 * image.height


def test_panels_and_their_words(models: list[Checkpoint], digits: Items) -> None:
    figure = planes.draw([("left", models[0], digits), ("middle", models[1], digits), ("right", models[2], digits)])
    upper, lower = figure.axes[:3], figure.axes[3:]
    titles = [axes.get_title() for axes in upper]
    assert titles == ["reconstruction alone (autoencoder)", "KL alone", "reconstruction and KL (VAE)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(digit) for digit in range(10)]
    for axes in upper:
        (circle,) = [patch for patch in axes.patches if isinstance(patch, Circle)]
        assert circle.get_radius() == pytest.approx(np.sqrt(-2 * np.log(0.1)), abs=1e-3)
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert right - left == pytest.approx(top - bottom)
        assert max(left, bottom) <= -planes.REACH
        assert min(right, top) >= planes.REACH
    assert [len(axes.images) for axes in lower] == [1, 1, 1]
    figure.canvas.draw()


def test_two_models_of_one_objective_have_titles_of_their_own(models: list[Checkpoint], digits: Items) -> None:
    figure = planes.draw([("one", models[2], digits), ("two", models[2], digits), ("three", models[1], digits)])
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["one\nreconstruction and KL (VAE)", "two\nreconstruction and KL (VAE)", "KL alone"]


def test_two_directories_of_one_name_are_told_by_their_paths(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    draw = planes.draw

    def note(columns: Sequence[tuple[str, Checkpoint, Items]]) -> Figure:
        drawn.extend(name for name, _, _ in columns)
        return draw(columns)

    monkeypatch.setattr(planes, "draw", note)
    shutil.copytree(runs[2], tmp_path / "vae")
    assert main([str(runs[2]), str(tmp_path / "vae"), str(runs[0]), "--out", str(tmp_path / "a.png"), "--dpi", "20"]) == 0
    assert drawn == [str(runs[2]), str(tmp_path / "vae"), "autoencoder"]


def test_it_shows_what_each_term_is_for(models: list[Checkpoint], digits: Items) -> None:
    autoencoder, kl, vae = (planes.latents(model, digits) for model in models)
    assert digits.labels is not None
    labels = digits.labels.numpy()

    def explained(z: plots.Floats) -> float:
        """Share of the variance that the label explains."""
        means = np.stack([z[labels == label].mean(0) for label in labels])
        return float(means.var(0).sum() / z.var(0).sum())

    assert explained(kl) < 0.1
    assert min(explained(autoencoder), explained(vae)) > 0.3
    np.testing.assert_allclose(kl.std(0), 1, atol=0.15)  # the prior itself
    assert 0.7 < vae.std(0).min() <= vae.std(0).max() < 1.8  # near it, on few pictures
    assert autoencoder.std(0).max() > 1.2 * vae.std(0).max()
    assert np.array_equal(autoencoder, models[0].vae.encode(digits.x).mu.double().numpy())


def test_a_model_without_a_plane(digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep, short = tmp_path / "deep", ["--arch", "mlp", "--hidden", "8", "--steps", "1", "--no-snapshots", "--device", "cpu"]
    assert train(["--data", f"npz:{digits_npz}", *short, "--latent-dim", "3", "--out", str(deep)]) == 0
    assert main([str(deep), "--out", str(tmp_path / "never.png")]) == 1
    assert "deep: has D = 3, but only D = 2 can be drawn" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), "--out", str(tmp_path / "never.png")]) == 1
    assert not (tmp_path / "never.png").exists()
