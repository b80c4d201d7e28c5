"""Write a report about a model: one self-contained HTML page with numbers, curves and pictures, and the PNGs beside it.

It shows the numbers of `models.evaluate.measure` and the log of a run; it measures nothing. Needs the extra `report`.
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

from models import kl_range
from models.checkpoint import Checkpoint
from models.data import Items, Splits, class_names
from models.evaluate import agreement, densities, factors, information, neighbors, pictures, plots, unusual
from models.evaluate import html as page
from models.evaluate.card import caption_of, description
from models.evaluate.commands import evaluate_command, train_commands
from models.evaluate.headings import Headings, headings
from models.evaluate.html import number, row
from models.evaluate.kinds import Measuring, measuring_for
from models.evaluate.measure import nearest_rows, posteriors
from models.evaluate.sample_quality import KEY, sample_rows
from models.evaluate.sources import SOURCES
from models.files.atomic_file import write_atomically
from models.mixture import GaussianMixture
from models.mosaic import tile, write_png
from models.priors import NAMES
from models.train.resume import log_entries

GAP, MAX_ROWS = 2, 10
SHOWN_POSTERIORS, NEIGHBORS, SCATTERED = 5, 8, 5000


@torch.no_grad()
def write_report(
    out: Path,
    directory: Path,
    checkpoint: Checkpoint,
    splits: Splits,
    metrics: Mapping[str, Any],
    mixture: GaussianMixture | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> Path:
    """Write index.html and its pictures into `out`, and return the path of the page. The VAE is on the CPU.

    Curves come from `directory`/run/metrics.jsonl, the evolution from `directory`/run/snapshots, if these exist.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawing = _Drawing(out, checkpoint, splits, metrics, mixture)
    log, snapshots = read_log(directory), sorted((directory / "run" / "snapshots").glob("*.safetensors"))
    names, measuring = headings(checkpoint.manifest, metrics), measuring_for(checkpoint.vae.kind)
    sections = [
        ("Numbers", _numbers(metrics, names, checkpoint.vae.config.latent_dim, drawing.prior, measuring)),
        ("Columns", page.headed_table(measuring.table(metrics))),
        ("Training", drawing.training(log)),
        ("Reconstructions", drawing.reconstructions()),
        ("Samples", drawing.samples()),
        ("Latents", drawing.latents(log)),
        ("Walks", drawing.walks()),
        ("Neighbours", drawing.neighbors()),
        (measuring.kind.worded(unusual.TITLE), drawing.unusual(calibration)),
        ("Evolution", drawing.evolution(snapshots)),
        ("How it was made", _made(directory, checkpoint, metrics)),
    ]
    text = page.render(directory.resolve().name, _header(checkpoint), [(title, body) for title, body in sections if body])
    write_atomically(out / "index.html", text.encode())
    return out / "index.html"


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's metrics.jsonl; [] if there is no run. A last line that was cut off is ignored."""
    return log_entries(directory / "run" / "metrics.jsonl")


class _Drawing:
    """Draws the pictures of one report. Each method returns HTML, or "" if there is nothing to show."""

    def __init__(
        self,
        out: Path,
        checkpoint: Checkpoint,
        splits: Splits,
        metrics: Mapping[str, Any],
        mixture: GaussianMixture | None,
    ) -> None:
        self.out, self.vae, self.splits, self.metrics, self.mixture = out, checkpoint.vae, splits, metrics, mixture
        self.prior, self.kind, self.spec = NAMES[self.vae.config.prior], self.vae.kind, checkpoint.manifest.preprocessing
        self.classes = class_names(checkpoint.manifest.data)
        self.posterior = posteriors(self.vae, splits.test.x, torch.device("cpu"), splits.test.condition)
        self.by_kl = sorted(range(len(kl := metrics["kl_per_dim"])), key=lambda j: -kl[j])

    def plot(self, name: str, figure: Figure, alt: str, caption: str) -> str:
        path = self.out / f"{name}.png"
        figure.savefig(path, dpi=plots.DPI)
        return page.figure(path, alt, self.kind.worded(caption))

    def picture(self, name: str, image: Image.Image, alt: str, caption: str) -> str:
        path = self.out / f"{name}.png"
        write_png(path, image)
        return page.figure(path, alt, self.kind.worded(caption), pixels=True)

    def training(self, log: list[dict[str, Any]]) -> str:
        if not log:
            return ""
        caption = "ELBO at beta = 1 and its two parts, by epoch; the first epochs of a long run may lie outside of the plot."
        return self.plot("curves", plots.curves(log), "training curves", caption)

    def reconstructions(self) -> str:
        some = self.splits.test[: 3 * self.kind.columns]
        image = pictures.reconstructions(self.vae.given(some.condition), some.x, self.spec)
        caption = caption_of("reconstructions.png", self.kind)
        return self.picture("reconstructions", image, "originals above reconstructions", caption)

    def samples(self) -> str:
        drawn, words = pictures.samples(self.vae, None, spec=self.spec), f"Decoded draws from {self.prior}."
        parts = [self.picture("samples", drawn, "samples of the trained prior", words)]
        if self.mixture is not None:
            caption = "Decoded draws from the fitted prior, a Gaussian mixture, driven by the same noise."
            drawn = pictures.samples(self.vae, self.mixture, spec=self.spec)
            parts.append(self.picture("samples-aggregate", drawn, "samples of the fitted prior", caption))
        return "".join(parts)

    def latents(self, log: list[dict[str, Any]]) -> str:
        parts = [
            self.plot(
                "kl",
                plots.kl_bars(self.metrics["kl_per_dim"]),
                "KL of each dimension",
                "Mean KL(posterior, N(0, I)) of each dimension over the test pictures; grey: not in use.",
            ),
            self.scatter(),
            self.posteriors(),
            self.plot(
                "rate-distortion",
                plots.rate_distortion(self.metrics, log, self.prior),
                "rate and distortion",
                "Rate (KL) and distortion (-log likelihood); on a grey line all models have the same ELBO. Early epochs may "
                "lie outside of the plot.",
            ),
        ]
        if self.vae.config.latent_dim == 2:
            parts.insert(1, self.manifold())
        return "".join(parts)

    def manifold(self) -> str:
        side = pictures.manifold_side(self.kind)
        mosaic = tile(pictures.decoded(pictures.first_label(self.vae), pictures.plane(side), self.spec), side, GAP)
        percent = [f"{p:.0f}" for p in torch.linspace(1, 99, side).tolist()]
        figure = plots.labelled_tiles(
            mosaic, self.step(), percent[::-1], percent, "z1, percentile of N(0, 1)", "z2, percentile of N(0, 1)"
        )
        return self.plot("manifold", figure, "the latent plane", "The decoded latent plane over percentiles of N(0, I).")

    def scatter(self) -> str:
        mu, test = self.posterior.mu[:SCATTERED], self.splits.test
        labels = None if test.labels is None else test.labels[:SCATTERED].tolist()
        if mu.shape[1] == 1:
            points, names = torch.stack([mu[:, 0], self.posterior.sigma[:SCATTERED, 0]], 1), ("mu", "sigma")
        elif mu.shape[1] == 2:
            points, names = mu, ("z1", "z2")
        else:
            _, _, axes = torch.pca_lowrank(mu.double(), 2, niter=6)
            points, names = (mu.double() - mu.double().mean(0)) @ axes, ("first principal axis", "second principal axis")
        what = "mu" if mu.shape[1] <= 2 else "The two principal axes of mu"
        caption = f"{what} of {'test pictures, by label' if labels is not None else 'the test pictures'}."
        return self.plot("scatter", plots.scatter(points.numpy(), labels, names, self.classes), "latents", caption)

    def posteriors(self) -> str:
        chosen = _different(self.splits.test, SHOWN_POSTERIORS)
        mu, sigma = self.posterior.mu[chosen].double().numpy(), self.posterior.sigma[chosen].double().numpy()
        x = pictures.seen(self.vae, self.splits.test.x[chosen], self.spec)
        figure = plots.posterior_densities(mu, sigma, x, self.by_kl[:8])
        caption = (
            "Posteriors of a few test pictures (their frames have the colours of the lines) against N(0, 1) (grey area); "
            "heights on a square-root scale"
        )
        more = "; the dimensions of the largest KL." if self.posterior.mu.shape[1] > 8 else "."
        return self.plot("posteriors", figure, "posteriors against the prior", caption + more)

    def walks(self) -> str:
        some = self.splits.test[:16]
        image = pictures.interpolations(self.vae, some.x, self.spec, some.condition)
        first = self.picture(
            "interpolations", image, "interpolations", "From one test picture's mu to another's, straight lines."
        )
        dims, steps = self.by_kl[:MAX_ROWS], pictures.traversal_steps(self.kind)
        walked = pictures.traversals(self.vae.given(some[:1].condition), self.posterior.mu[0], dims, steps)
        mosaic = tile(pictures.seen(self.vae, walked, self.spec), steps, GAP)
        values = [f"{value:.1f}" for value in pictures.percentiles(steps).tolist()]
        figure = plots.labelled_tiles(mosaic, self.step(), [f"z{j + 1}" for j in dims], values, "value of the dimension")
        caption = "The first test picture's mu with one dimension moved from the 1st to the 99th percentile of N(0, 1)."
        return first + self.plot("traversals", figure, "traversals", caption)

    def neighbors(self) -> str:
        train = self.splits.train
        count = min(NEIGHBORS, self.kind.columns - 1, len(train))
        queries = _different(self.splits.test, 8)
        references = posteriors(self.vae, train.x, torch.device("cpu"), train.condition).mu
        nearest = nearest_rows(references, self.posterior.mu[queries], count)
        image = pictures.neighbors(self.vae, self.splits.test.x[queries], train.x[nearest], spec=self.spec)
        caption = "Test pictures (left) and the training pictures whose mu are nearest to theirs (L2), nearest first."
        return self.picture("neighbors", image, "nearest neighbours", caption)

    def unusual(self, record: Mapping[str, Any] | None) -> str:
        if not record:
            return ""
        figure = plots.aurocs(record["auroc"])
        section = self.kind.worded(unusual.report_section(record))
        return section + self.plot("strangers", figure, "AUROC of strangers", unusual.CAPTION)

    def evolution(self, snapshots: list[Path]) -> str:
        if not snapshots:
            return ""
        path = self.out / "evolution.webp"
        frames = [
            (f"step {int(stem):,}", frame)
            for stem, frame in pictures.evolution(self.vae, snapshots, self.splits.test[:SCATTERED], self.spec)
            if stem.isdigit()
        ]
        pictures.animate(path, frames)
        caption = "The same latents, decoded at steps of the training."
        if self.vae.config.latent_dim == 2:
            caption = (
                "Encoder and decoder at steps of the training: mu of the test pictures by label, and the decoded latent plane "
                "over percentiles of N(0, I)."
            )
        return page.figure(path, "evolution during training", self.kind.worded(caption), pixels=True)

    def step(self) -> tuple[int, int]:
        """Return the size of a tile with its gap, (height, width)."""
        height, width = pictures.seen(self.vae, self.splits.test.x[:1], self.spec).shape[1:3]
        return height + GAP, width + GAP


def _different(test: Items, count: int) -> list[int]:
    """Return the indices of the first picture of each label, then of the other pictures."""
    seen: dict[int, int] = {}
    for i, label in enumerate(test.labels[:500].tolist() if test.labels is not None else []):
        seen.setdefault(label, i)
    first = sorted(seen.values())[:count]
    return (first + [i for i in range(len(test)) if i not in first])[:count]


def _header(checkpoint: Checkpoint) -> str:
    words = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in description(checkpoint.manifest))
    return f'{words}<p class="digest">SHA-256 {checkpoint.digest}</p>'


def _numbers(metrics: Mapping[str, Any], names: Headings, dim: int, prior: str, measuring: Measuring) -> str:
    protocol = metrics["protocol"]
    bound = f"{number(metrics, 'iwae_nll')} ± {number(metrics, 'iwae_nll_standard_error')}"
    rows = [
        *densities.report_rows(metrics),
        row(densities.bound_name(metrics, names), bound, "nats per picture, with its standard error"),
        row("ELBO", number(metrics, "elbo"), "at beta = 1, one draw"),
        row("distortion", number(metrics, "distortion"), f"minus the {names.pixels}, one draw"),
        row("rate", number(metrics, "rate"), "KL(posterior, prior)"),
        *information.report_rows(metrics),
        row("active units", f"{number(metrics, 'active_units')} of {dim}", protocol["active_units"]),
        row("effective sample size", number(metrics, "ess_mean", 1), "mean over pictures, of the samples of the bound"),
    ]
    if kl_range.KEY in metrics:
        rows += [
            row("KL to N(0, I): 0.1 % quantile", number(metrics, f"{kl_range.KEY}.low"), protocol[kl_range.KEY]),
            row("KL to N(0, I): 99.9 % quantile", number(metrics, f"{kl_range.KEY}.high"), "the same"),
            row("KL to N(0, I): maximum", number(metrics, f"{kl_range.KEY}.maximum"), "the same"),
        ]
    if "knn_accuracy" in metrics:
        rows.append(row("5-NN accuracy", number(metrics, "knn_accuracy", 2, True), protocol["knn_accuracy"]))
    for name in metrics.get(neighbors.KEY, ()):
        rows.append(row(neighbors.named(name), number(metrics, f"{neighbors.KEY}.{name}", 2, True), protocol[neighbors.KEY]))
    if "aggregate_prior" in metrics:
        own = "aggregate_prior."
        bound = f"{number(metrics, own + 'iwae_nll')} ± {number(metrics, own + 'iwae_nll_standard_error')}"
        gain = f"{number(metrics, own + 'gain')} ± {number(metrics, own + 'gain_standard_error')}"
        rows += [
            row(densities.bound_name(metrics, names, metrics["aggregate_prior"]), bound, protocol["aggregate_prior"]),
            row("fitted prior: gain", gain, f"nats over {prior}, paired by picture"),
            row("fitted prior: rate", number(metrics, own + "rate"), "mean of log q(z given x) - log p(z)"),
            row("fitted prior: Gaussians", number(metrics, own + "components"), "chosen on held-out draws"),
        ]
    rows += [*agreement.report_rows(metrics), *factors.report_rows(metrics)]
    for what, _, key in sample_rows(metrics, prior):
        rows.append(row(f"{what}: Fréchet distance", number(metrics, f"{KEY}.{key}.frechet"), protocol[KEY]))
    rows += [row(what, html.escape(value), protocol[key]) for what, value, key in measuring.rows(metrics)]
    words = f"{protocol['unit'].capitalize()}; {protocol['split']}; {measuring.parts}: {protocol['pixels']}."
    return measuring.kind.worded(page.table(rows) + f'<p class="dim">{html.escape(words)}</p>')


def _made(directory: Path, checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> str:
    data = checkpoint.manifest.data
    commands = [*train_commands(directory, data), evaluate_command(directory, metrics)]
    source = SOURCES.get(data.get("name", ""), str(data.get("name")))
    lines = "".join(f"<p><code>{html.escape(command)}</code></p>" for command in commands)
    return f'<p class="dim">{html.escape(source)}</p>{lines}'
