"""The report of a real little run: all its parts, nothing from elsewhere, and no number that metrics.json does not have."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from models.checkpoint import read
from models.evaluate import html as page
from models.evaluate import plots
from models.evaluate.__main__ import main
from models.evaluate.report import read_log
from models.train.__main__ import main as train

FAST = ["--samples", "4", "--device", "cpu"]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module", autouse=True)
def _few_dots() -> Iterator[None]:
    """Diagrams of a quarter of the size are drawn in a third of the time."""
    before, plots.DPI = plots.DPI, 40
    yield
    plots.DPI = before


class Page(HTMLParser):
    """What a page refers to, and its numbers: key -> (exact value, text)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.captions = 0
        self._open: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in ("src", "href", "srcset", "action") if name in values]
        if tag == "data":
            self._open = values["data-key"], values["value"]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.numbers.append((*self._open, data))
            self._open = None


@pytest.fixture(scope="module")
def plane(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs in the plane, with two snapshots, its aggregate prior and its report."""
    out = tmp_path_factory.mktemp("reported") / "digits <2>"
    small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--epochs", "2", "--batch-size", "32", "--lr", "0.01"]
    trained = out.with_name("digits")  # The page must escape a name that a directory may have got later.
    assert train(["--data", f"npz:{digits_npz}", "--device", "cpu", *small, "--out", str(trained)]) == 0
    trained.rename(out)
    snapshots = out / "run" / "snapshots"
    shutil.rmtree(snapshots, ignore_errors=True)
    snapshots.mkdir()
    weights = safetensors.torch.load_file(out / "model.safetensors")
    for step in (1, 8):
        safetensors.torch.save_file({name: w * step / 8 for name, w in weights.items()}, snapshots / f"{step:08d}.safetensors")
    assert main([str(out), *FAST, "--fit-prior", "--prior-components", "1,3", "--report"]) == 0
    return out


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured squares of two factors and five latents, without labels; the report in a directory of its own."""
    directory = tmp_path_factory.mktemp("squares")
    hue, place = (part.flatten() for part in np.meshgrid(np.arange(3), np.arange(16), indexing="ij"))
    images = np.zeros((48, 8, 8, 3), np.uint8)
    for i, (h, p) in enumerate(zip(hue, place, strict=True)):
        images[i, 2 * (p // 4) : 2 * (p // 4) + 2, 2 * (p % 4) : 2 * (p % 4) + 2, h] = 255
    is_train = np.tile(np.arange(5), (48, 1)).T.flatten() < 4
    images = np.tile(images, (5, 1, 1, 1))
    np.savez(directory / "squares.npz", images=images, is_train=is_train, hue=np.tile(hue, 5), place=np.tile(place, 5))
    data = ["--data", f"npz:{directory / 'squares.npz'}", "--device", "cpu"]
    small = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "5", "--epochs", "1", "--batch-size", "32", "--sigma", "0.2"]
    assert train([*data, *small, "--no-fit-prior", "--out", str(directory / "out")]) == 0
    assert main([str(directory / "out"), *FAST, "--report", str(directory / "page")]) == 0
    return directory


def metrics_of(directory: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((directory / "metrics.json").read_text())
    return metrics


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(key, number) of all single numbers, those of nested objects as "a.b"; not of how they were measured and chosen."""
    for name, value in values.items():
        if isinstance(value, dict) and name not in ("protocol", "held_out_log_density"):
            yield from leaves(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            yield prefix + name, value


class TestPage:
    def test_every_number_is_that_of_the_metrics(self, plane: Path, colours: Path) -> None:
        for directory, text in ((plane, plane / "report"), (colours / "out", colours / "page")):
            metrics, found = metrics_of(directory), Page((text / "index.html").read_text())
            for key, value, shown in found.numbers:
                exact = page.look_up(metrics, key)
                assert float(value) == exact
                parts, percent = re.fullmatch(r"(-?[\d.]+)( %)?", shown), shown.endswith(" %")
                assert parts, shown
                decimals = len(parts[1].partition(".")[2])
                assert float(parts[1]) == pytest.approx(exact * (100 if percent else 1), abs=0.5000001 * 10**-decimals)

    def test_every_number_of_the_metrics_is_shown(self, plane: Path, colours: Path) -> None:
        """Of `protocol` in words; `kl_per_dim` as a diagram; `kl` and `log_likelihood` are rate and -distortion."""
        unshown = {
            "kl",
            "log_likelihood",
            "aggregate_prior.ess_mean",
            "aggregate_prior.fitted_draws",
            "aggregate_prior.fit_seed",
        }
        for directory, text in ((plane, plane / "report"), (colours / "out", colours / "page")):
            metrics, found = metrics_of(directory), Page((text / "index.html").read_text())
            keys = {key for key, _, _ in found.numbers}
            assert {key for key, _ in leaves(metrics)} - keys <= unshown
            assert (metrics["kl"], metrics["log_likelihood"]) == (metrics["rate"], -metrics["distortion"])

    def test_diagrams_draw_the_numbers_of_the_metrics(self, plane: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: dict[str, Any] = {}
        bars, point = plots.kl_bars, plots.rate_distortion
        monkeypatch.setattr(plots, "kl_bars", lambda *given: drawn.setdefault("bars", bars(*given)))
        monkeypatch.setattr(plots, "rate_distortion", lambda *given: drawn.setdefault("point", point(*given)))
        assert main([str(plane), "--recorded", "--report", str(plane / "report")]) == 0
        metrics = metrics_of(plane)
        heights = [bar.get_height() for bar in drawn["bars"].axes[0].patches]
        assert heights == sorted(metrics["kl_per_dim"], reverse=True)
        places = [line.get_xydata()[0].tolist() for line in drawn["point"].axes[0].lines if line.get_marker() in ("o", "D")]
        rates = [metrics["rate"], metrics["aggregate_prior"]["rate"]]
        assert places == [[rate, metrics["distortion"]] for rate in rates]

    def test_cells_of_numbers_hold_nothing_else(self, plane: Path) -> None:
        text = (plane / "report" / "index.html").read_text()
        cells = re.findall(r"<tr><th>.*?</th><td>(.*?)</td>", text)
        assert len(cells) >= 12
        for cell in cells:
            assert re.sub(r"<data [^>]*>[^<]*</data>", "", cell).strip() in ("", "±", "of 2")

    def test_it_needs_nothing_but_itself(self, plane: Path, colours: Path) -> None:
        for path in (plane / "report" / "index.html", colours / "page" / "index.html"):
            found = Page(path.read_text())
            assert found.addresses
            assert all(address.startswith(("data:image/", "#part-")) for address in found.addresses)
            assert not {"script", "link", "iframe", "object", "embed", "base"} & set(found.tags)
            assert "url(" not in page.STYLE
            assert "@import" not in page.STYLE
            assert "default-src 'none'" in path.read_text()

    def test_it_has_every_picture_and_they_lie_beside_it(self, plane: Path) -> None:
        names = {path.name for path in (plane / "report").iterdir()}
        assert names == {"index.html", "evolution.webp"} | {
            f"{name}.png"
            for name in (
                "curves", "reconstructions", "samples", "samples-aggregate", "kl", "manifold", "scatter", "posteriors",
                "rate-distortion", "interpolations", "traversals", "neighbors",
            )
        }  # fmt: skip
        found = Page((plane / "report" / "index.html").read_text())
        assert found.tags.count("img") == found.tags.count("figcaption") == len(names) - 1

    def test_the_animation_has_a_frame_a_snapshot(self, plane: Path) -> None:
        with Image.open(plane / "report" / "evolution.webp") as image:
            assert getattr(image, "n_frames", 1) == 2

    def test_without_run_prior_or_labels_these_parts_are_missing(self, colours: Path) -> None:
        shutil.rmtree(colours / "out" / "run")
        assert main([str(colours / "out"), *FAST, "--recorded", "--report", str(colours / "bare")]) == 0
        names = {path.name for path in (colours / "bare").iterdir()}
        assert not names & {"curves.png", "samples-aggregate.png", "manifold.png", "evolution.webp"}
        assert "Training</h2>" not in (colours / "bare" / "index.html").read_text()

    def test_factors_are_measured_and_shown(self, colours: Path) -> None:
        metrics = metrics_of(colours / "out")
        assert metrics["factors"]["names"] == ["hue", "place"]
        assert metrics["protocol"]["pixels"].startswith("bytes x with uniform noise, (x + u - 1/2) / 255")
        assert metrics["protocol"]["active_units"].endswith("(pixels in colour)")
        for key in ("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness"):
            assert 0 <= metrics["factors"][key] <= 1
        text = (colours / "page" / "index.html").read_text()
        assert 'data-key="factors.mig"' in text
        assert "MIG" in (colours / "out" / "README.md").read_text()

    def test_recorded_numbers_are_drawn_again_without_measuring(self, plane: Path, tmp_path: Path) -> None:
        before = (plane / "metrics.json").read_bytes()
        assert main([str(plane), "--recorded", "--report", str(tmp_path)]) == 0
        assert (plane / "metrics.json").read_bytes() == before
        assert (tmp_path / "index.html").read_text() == (plane / "report" / "index.html").read_text()

    @pytest.mark.skipif(CHROMIUM is None, reason="no browser")
    def test_a_browser_opens_it(self, plane: Path, tmp_path: Path) -> None:
        target, shot = (plane / "report" / "index.html").resolve(), tmp_path / "page.png"
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
                   "--window-size=390,3000", f"--screenshot={shot}", target.as_uri()]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            assert image.size == (390, 3000)
            assert len(set(image.convert("L").resize((39, 300)).tobytes())) > 20  # pictures, not an empty page


class TestAggregatePrior:
    def test_it_is_fitted_stored_and_measured(self, plane: Path) -> None:
        prior = metrics_of(plane)["aggregate_prior"]
        assert prior["components"] in (1, 3)
        assert prior["covariance"] == "full"
        assert list(prior["held_out_log_density"]) == ["1", "3"]
        best = max(prior["held_out_log_density"], key=lambda k: float(prior["held_out_log_density"][k]))
        assert int(best) == prior["components"]
        assert prior["iwae_nll"] == pytest.approx(metrics_of(plane)["iwae_nll"] - prior["gain"])
        card = (plane / "README.md").read_text()
        assert "samples-aggregate.png" in card
        assert f"{prior['gain']:.2f} +- {prior['gain_standard_error']:.2f}" in card
        assert "--fit-prior" in card

    def test_later_evaluations_find_it(self, plane: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(plane, tmp_path / "copy")
        assert main([str(copy), *FAST]) == 0
        assert metrics_of(copy) == metrics_of(plane)

    def test_the_digest_is_not_touched(self, plane: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(plane, tmp_path / "copy")
        assert read(copy).digest == read(plane).digest
        (copy / "prior.safetensors").unlink()
        assert read(copy).digest == read(plane).digest

    def test_of_other_weights_it_is_refused_until_fitted_again(
        self, plane: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy = shutil.copytree(plane, tmp_path / "copy")
        config = json.loads((copy / "config.json").read_text())
        config["data"]["remark"] = "other weights have another digest"
        (copy / "config.json").write_text(json.dumps(config, indent=2))
        assert main([str(copy), *FAST]) == 1
        assert "fit it again" in capsys.readouterr().err
        assert main([str(copy), *FAST, "--fit-prior", "--prior-components", "2", "--prior-covariance", "diagonal"]) == 0
        assert metrics_of(copy)["aggregate_prior"]["covariance"] == "diagonal"
        assert "--prior-covariance diagonal" in (copy / "README.md").read_text()

    def test_nothing_to_fit_where_nothing_is_measured(self, plane: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(plane), "--recorded", "--fit-prior"]) == 1
        assert "choose one" in capsys.readouterr().err

    def test_numbers_of_an_earlier_version(self, plane: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        copy = shutil.copytree(plane, tmp_path / "copy")
        old = metrics_of(copy)
        for key in ("rate", "distortion", "mutual_information", "marginal_kl", "prior_coverage"):
            del old[key]
        (copy / "metrics.json").write_text(json.dumps(old))
        assert main([str(copy), "--recorded"]) == 0  # the card can do without
        assert main([str(copy), "--recorded", "--report"]) == 1
        assert "measure again" in capsys.readouterr().err

    def test_nothing_recorded(self, plane: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        copy = shutil.copytree(plane, tmp_path / "copy")
        (copy / "metrics.json").unlink()
        assert main([str(copy), "--recorded"]) == 1
        assert "metrics.json" in capsys.readouterr().err


def test_a_card_of_colours_speaks_of_no_greys(colours: Path) -> None:
    assert "grey" not in (colours / "out" / "README.md").read_text().lower()


def test_a_log_whose_last_line_was_cut_off(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert [entry["epoch"] for entry in read_log(tmp_path)] == [1, 2]


@pytest.fixture(autouse=True)
def _no_figure_is_left_open() -> Iterator[None]:
    """Figures are objects of their own: pyplot, which keeps them, is not used."""
    yield
    import sys

    assert "matplotlib.pyplot" not in sys.modules
    assert torch.is_grad_enabled()
