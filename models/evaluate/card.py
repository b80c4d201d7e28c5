"""The text of a model's card, README.md in the checkpoint's directory, made of config.json and metrics.json."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models import kl_range
from models.checkpoint import Manifest
from models.condition import described
from models.evaluate import agreement, densities, information, neighbors, unusual
from models.evaluate.card_file import FrontMatter, marked
from models.evaluate.commands import evaluate_command, train_commands
from models.evaluate.front_matter import DIFFUSERS, front_matter
from models.evaluate.headings import Headings, constant_part, headings
from models.evaluate.kinds import measuring_for
from models.evaluate.sample_quality import KEY, sample_rows
from models.evaluate.sources import SOURCES
from models.kinds import kind_of
from models.kinds.kind import Kind
from models.metrics_file import REASONS, as_numbers
from models.priors import NAMES
from models.program import PACKAGE
from models.sigma import told as told_sigma
from models.spatial_latents import ARCH
from models.train import overfitting
from models.train.flags import build_parser
from models.train.kinds import TRAINING
from models.train.objectives import OBJECTIVES, wishes
from models.train.plan import kept
from models.train.presets import PRESETS

# What no file says of the run whose weights a model started from, by the first digits of the digest of these weights.
UNRECORDED = {
    "45fe0d372177": (
        "That run was stopped in the 15th of its 16 epochs, and its best weights, those of the 14th, were taken; the first "
        "command below runs all 16, so that it may give others"
    ),
}
# Maps a key of the protocol in metrics.json to its name in the card.
EXPLAINED = {
    "knn_accuracy": "5-NN",
    neighbors.KEY: "5-NN by metric",
    kl_range.KEY: "KL of 99.8 %",
    "mutual_information": "Mutual information",
    "prior_coverage": "Coverage",
    "told_apart": "Recognised",
    "aggregate_prior": "Fitted prior (`prior=aggregate`)",
    "factors": "Factors",
    "densities": "Bits per dimension",
    "agreement": "Validation",
    KEY: "Samples",
}
# Options that only repeat what the preprocessing says of each column of a table, or what others say of AutoencoderKL.
REPEATED = frozenset(("cardinalities", "floors", "ranges", "down_block_types", "up_block_types", "sample_size"))
NOT_FINITE = re.compile(r"\b(nan|inf)\b")
CAPTIONS = {
    "reconstructions.png": "Test pictures, each row above its reconstructions (decoded mu).",
    "samples.png": "Decoded draws from the trained prior.",
    "samples-aggregate.png": "Decoded draws from the fitted prior, a Gaussian mixture.",
    "interpolations.png": "From one test picture's mu to another's, straight lines.",
    "manifold.png": "The latent plane over percentiles of N(0, I): z1 to the right, z2 upwards.",
    "scatter.png": "mu of the test pictures by label; squares are 1 by 1, a standard deviation of N(0, I).",
}


def card(
    directory: Path,
    manifest: Manifest,
    metrics: dict[str, Any],
    pictures: Sequence[str],
    calibration: Mapping[str, Any] | None = None,
    before: FrontMatter | None = None,
) -> str:
    """Return the card as Markdown.

    `calibration` is the record of one, if there is one, `before` the front matter of the card that there is now.
    """
    metrics = as_numbers(metrics)
    model, protocol, names = manifest.model, metrics["protocol"], headings(manifest, metrics)
    measuring = measuring_for(kind := kind_of(model.kind))
    name = directory.name or directory.resolve().name  # "." has no name of its own
    commands = train_commands(directory, manifest.data)
    remarks = [*map(kind.worded, densities.remarks(metrics)), *agreement.lines(metrics, kind), *_left_out(protocol)]
    if neighbors.KEY in metrics:  # which has this number, too
        metrics = {key: value for key, value in metrics.items() if key != "knn_accuracy"}
    rows = [
        *densities.nats_rows(metrics, names),
        ("KL(posterior, prior)", f"{metrics['kl']:.2f}"),
        ("effective sample size of the bound, mean", f"{metrics['ess_mean']:.1f} of {protocol['iwae_samples']}"),
        ("active units", active_of(metrics["active_units"], model.latent_dim, manifest.data)),
    ]
    if kl_range.KEY in metrics:
        nats = metrics[kl_range.KEY]
        rows.append(("KL(posterior, N(0, I)) of 99.8 % of the pictures", f"{nats['low']:.2f} to {nats['high']:.2f}"))
    if "knn_accuracy" in metrics:
        rows.append(("5-NN accuracy", f"{100 * metrics['knn_accuracy']:.2f} %"))
    rows += [(neighbors.named(key), f"{100 * share:.2f} %") for key, share in metrics.get(neighbors.KEY, {}).items()]
    rows += [(what, kind.worded(value)) for what, value in information.card_rows(metrics)]
    rows += [*_prior_rows(metrics, names), *_factor_rows(metrics)]
    rows += _sample_rows(metrics, model.prior)
    rows += [(what, value) for what, value, _ in measuring.rows(metrics)]
    remarks += _not_finite([what for what, value in rows if NOT_FINITE.search(value)], protocol)
    lines = [
        *front_matter(name, manifest, metrics, before),
        f"# {name}",
        "",
        *(line for words in description(manifest) for line in (words, "")),
        *_use(directory, manifest),
        "## Data",
        "",
        SOURCES.get(manifest.data.get("name", ""), f"`{manifest.data.get('name')}`"),
        "",
        *_choices(manifest.data.get("choices"), kind),
        f"## {'Trained and measured' if commands else 'Measured'} by",
        "",
        "```sh",
        *(f".venv/bin/{command}" for command in commands),
        f".venv/bin/{evaluate_command(directory, metrics)}",
        "```",
        "",
        "## Numbers",
        "",
        f"{protocol['unit'].capitalize()}; {protocol['split']}; {measuring.parts}: {protocol['pixels']}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {kind.worded(what)} | {value} |" for what, value in rows if not NOT_FINITE.search(value)),
        "",
        *_table(measuring.table(metrics)),
        *(line for remark in remarks for line in (remark, "")),
        f"Active units: {protocol['active_units']}."
        + "".join(
            f" {words}: {protocol[key]}."
            for key, words in {**EXPLAINED, **measuring.explained}.items()
            if key in metrics and key in protocol
        ),
        "",
        *(unusual.card_lines(directory, calibration, kind) if calibration else []),
        *(line for picture in pictures for line in _shown(picture, kind)),
    ]
    return marked("\n".join(lines))


def _use(directory: Path, manifest: Manifest) -> list[str]:
    """Return how to load a model whose net is that of diffusers, as lines of Markdown; [] for others."""
    if manifest.model.arch != ARCH:
        return []
    own = f"The VAE service loads it with the packages of its extra `diffusers`: `pip install '{PACKAGE}[diffusers]'`."
    if manifest.data.get("layout") != DIFFUSERS:
        return [own, ""]
    call = f"AutoencoderKL.from_pretrained({json.dumps(directory.as_posix())})"
    program = ["```python", "from diffusers import AutoencoderKL", "", f"vae = {call}  # or OWNER/NAME on the hub", "```"]
    return ["## Load it", "", *program, "", own, ""]


def _not_finite(names: Sequence[str], protocol: Mapping[str, Any]) -> list[str]:
    """Return a sentence about the numbers that are not shown, [] if there are none."""
    reasons = "; ".join(f"{key}: {reason}" for key, reason in protocol.get(REASONS, {}).items())
    return (
        [f"Not shown, because there is no finite value: {', '.join(names)}{f' ({reasons})' if reasons else ''}."]
        if names
        else []
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of a Markdown table, its first row the headings, and an empty line; [] without rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:], ""] if lines else []


def description(manifest: Manifest) -> list[str]:
    """Return paragraphs about the model, its preset, start and epoch as far as they are known, and its objective."""
    model, data = manifest.model, manifest.data
    kind = kind_of(model.kind)
    prior = f", {model.prior} prior{_options(model.prior_options)}" if model.prior != "standard" else ""
    found = [
        f"{model.arch}{_options(model.arch_options)}, D = {model.latent_dim}, {model.likelihood} likelihood"
        f"{_options(model.likelihood_options)}{prior}; {kind.many} of {TRAINING[kind.name].size(model.shape)}."
    ]
    if model.condition:
        found.append(described(model.condition, kind.noun))
    if isinstance(origin := data.get("converted_from"), dict):
        found.append(f"Converted from a {origin.get('name')} of {origin.get('software')}.")
    if data.get("preset") in PRESETS:
        preset = PRESETS[data["preset"]]
        found.append(f"Preset {data['preset']}: {preset.what}. Source: {preset.source}.")
    if constant := constant_part(manifest):
        found.append(f"{constant}.")
    if isinstance(start := data.get("init_from"), dict):
        digest = str(start.get("digest"))[:12]
        more = f" {UNRECORDED[digest]}." if digest in UNRECORDED else ""
        found.append(f"Started from the weights of `{start.get('path')}`, digest {digest}.{more}")
    if isinstance(longer := data.get("lengthened"), dict):
        found.append(f"Continued, so that the command below alone gives other weights: {longer.get('schedule')}.")
    if sigma := told_sigma(data, kind):
        found.append(f"{sigma[0].upper()}{sigma[1:]}.")
    if weights := kept(data, kind):
        found.append(f"{weights[0].upper()}{weights[1:]}.")
    if overfit := overfitting.told(data, kind):
        found.append(f"{overfit[0].upper()}{overfit[1:]}.")
    training = build_parser().parse_args(["--out", ""])  # Gives defaults for flags that earlier versions did not record.
    vars(training).update(data.get("training", {}))
    objective = OBJECTIVES[training.objective](wishes(training, 1))
    remark = objective.remark()
    if remark or training.objective != "elbo":
        found.append(
            f"Objective {training.objective}{': ' if remark else ''}{remark or ''}. The ELBO below is that at beta = 1."
        )
    if training.objective == "autoencoder":
        found.append("The posteriors' sigma was never trained: only numbers about mu and reconstructions are meaningful.")
    return found


def caption_of(picture: str, kind: Kind) -> str:
    """Return the caption of one of the pictures of a card."""
    if picture == "reconstructions.png" and kind.name != "picture":  # whose rows may be something else
        return f"Test {kind.many}, in lines; below each line are the reconstructions (decoded mu)."
    return kind.worded(CAPTIONS[picture])


def _shown(picture: str, kind: Kind) -> list[str]:
    """Return a picture with its caption, as lines of Markdown."""
    caption = caption_of(picture, kind)
    return [f"![{caption}]({picture})", "", caption, ""]


def _left_out(protocol: Mapping[str, Any]) -> list[str]:
    """Return a sentence about what is not measured for this kind, [] if everything is."""
    return [f"Left out: {protocol['left_out']}."] if "left_out" in protocol else []


def _choices(choices: object, kind: Kind) -> list[str]:
    """Return what training chose by the data, as a list."""
    if not isinstance(choices, dict) or not choices:
        return []
    return [f"Chosen by the {kind.many}:", "", *(f"- {name}: {sentence}" for name, sentence in choices.items()), ""]


def _options(options: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in options.items() if key not in REPEATED}
    words = (f"{key} {round(value, 4) if isinstance(value, float) else value}" for key, value in shown.items())
    return f" ({', '.join(words)})" if shown else ""


def _prior_rows(metrics: Mapping[str, Any], names: Headings) -> list[tuple[str, str]]:
    if "aggregate_prior" not in metrics:
        return []
    prior = metrics["aggregate_prior"]
    nats = [
        (
            densities.bound_name(metrics, names, prior),
            f"{prior['iwae_nll']:.2f} +- {prior['iwae_nll_standard_error']:.2f}",
        )
    ]
    return [
        *([] if densities.is_density(metrics) else nats),
        ("what the fitted prior gains", f"{prior['gain']:.2f} +- {prior['gain_standard_error']:.2f}"),
        ("rate with the fitted prior", f"{prior['rate']:.2f}"),
        *([("labels of the fitted prior", f"none: {prior['labels_left_out']}")] if "labels_left_out" in prior else []),
    ]


def _factor_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = metrics.get("factors", {})
    names = {"mig": "MIG", "sap": "SAP"} | {
        f"dci_{part}": f"DCI {part}" for part in ("disentanglement", "completeness", "informativeness")
    }
    return [(name, f"{found[key]:.3f}") for key, name in names.items() if key in found]


def active_of(active: int, dim: int, data: Mapping[str, Any] | None = None) -> str:
    """Return how many latent dimensions are active, and what follows if all of them are. `data`: that of the manifest.

    With free bits all of them are, whatever D is.
    """
    free = (data or {}).get("training", {}).get("objective") == "free-bits"
    return f"{active} of {dim}{': a larger D may give a better ELBO' if active == dim > 2 and not free else ''}"


def _sample_rows(metrics: Mapping[str, Any], prior: str) -> list[tuple[str, str]]:
    found = metrics.get(KEY, {})
    rows = [(f"{what}: Fréchet distance; precision, recall", text) for what, text, _ in sample_rows(metrics, NAMES[prior])]
    if "classifier_accuracy" in found:
        rows.append(("accuracy of the classifier on the test pictures", f"{100 * found['classifier_accuracy']:.1f} %"))
    if "confirmed" in found:
        by_label = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found["confirmed"]["by_label"].items())
        rows.append(
            ("samples of a label that the classifier confirms", f"{100 * found['confirmed']['share']:.1f} % ({by_label})")
        )
    return rows
