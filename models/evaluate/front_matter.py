"""The YAML in front of a model's card, as the Hugging Face hub reads it: licence, data sets, and the measured numbers.

The numbers are those of the card below it, rounded as there.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from models.checkpoint import Manifest
from models.evaluate import densities, neighbors
from models.evaluate.headings import headings
from models.evaluate.sample_quality import KEY as SAMPLES
from models.evaluate.sequences import KEY as SEQUENCES
from models.evaluate.table import KEY as TABLE
from models.kinds import kind_of

LIBRARY, DIFFUSERS = "vae-service", "diffusers"
UNKNOWN = "unknown"  # one of the hub's identifiers of licences


class DataSet(NamedTuple):
    """A data set: its name, its name on the hub (or here, if the hub has none), and the hub's identifier of its licence."""

    name: str
    id: str
    license: str


# Weights have the licence of the data that they were trained on.
DATA_SETS = {
    "mnist": DataSet("MNIST", "ylecun/mnist", "cc-by-sa-3.0"),
    "fashion-mnist": DataSet("Fashion-MNIST", "zalando-datasets/fashion_mnist", "mit"),
    "omniglot-strokes": DataSet("Omniglot as pen strokes", "omniglot-strokes", "mit"),
    "lpc-sprites": DataSet("LPC sprites", "lpc-sprites", "cc-by-sa-3.0"),
}
# What the hub calls the task of an encoder.
TASKS = {"picture": "image-feature-extraction"}
OTHER_TASK = "feature-extraction"


class Metric(NamedTuple):
    """One number: the hub's identifier, what it is in words, its value, and the decimals to write.

    `samples`: the number of importance samples of a bound, 0 for other numbers.
    """

    type: str
    name: str
    value: float
    decimals: int
    samples: int = 0


def front_matter(
    name: str, manifest: Manifest, metrics: Mapping[str, Any], before: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the lines of the front matter of the model `name`, with the lines of three dashes around it.

    `before` is the front matter that the card has now, the lines of each key: keys that are not written here and tags stay.
    So do licence and data sets, but for data that have a name here.
    """
    before = before or {}
    model, data = manifest.model, str(manifest.data.get("name", ""))
    source = DATA_SETS.get(data) or DataSet(data or "not recorded", "own", UNKNOWN)
    task = TASKS.get(model.kind, OTHER_TASK)
    tags = ["vae", "variational-autoencoder", model.kind, *(["conditional"] if model.condition else [])]
    found: dict[str, Any] = {
        "license": source.license,
        "library_name": DIFFUSERS if manifest.data.get("layout") == DIFFUSERS else LIBRARY,
        "pipeline_tag": task,
        "tags": [*tags, *(tag for tag in _listed(before.get("tags", ())) if tag not in tags)],
        **({"datasets": [source.id]} if data in DATA_SETS else {}),
    }
    kept = {key: lines for key, lines in before.items() if key not in (*found, "datasets", "model-index")}
    # The licence of data that have a name here would be wrong for others.
    if data not in DATA_SETS and not {one.id for one in DATA_SETS.values()} & set(_listed(before.get("datasets", ()))):
        own = {key: before[key] for key in ("license", "datasets") if key in before}
        found, kept = {key: value for key, value in found.items() if key not in own}, {**own, **kept}
    numbers = [
        {
            "type": one.type,
            "name": one.name,
            "value": Literal(f"{one.value:.{one.decimals}f}"),
            **({"args": {"importance_samples": Literal(one.samples)}} if one.samples else {}),
        }
        for one in measured(manifest, metrics)
        if math.isfinite(one.value)
    ]
    if numbers:  # The hub refuses results without any.
        protocol = metrics["protocol"]
        split = f"test[:{protocol['limit']}]" if "limit" in protocol else "test"
        args = {"values": protocol["pixels"], "seed": Literal(protocol["seed"])}
        measured_on = {"name": source.name, "type": source.id, "split": split, "args": args}
        result = {"task": {"type": task}, "dataset": measured_on, "metrics": numbers}
        found["model-index"] = [{"name": name, "results": [result]}]
    return ["---", *(line for lines in kept.values() for line in lines), *yaml_lines(found), "---", ""]


def _listed(lines: Sequence[str]) -> list[str]:
    """Return the texts of a list of YAML, one in each line or all in brackets, without their quotes."""
    text = "\n".join(lines).partition(":")[2].strip()
    parts = text.strip("[]").split(",") if text.startswith("[") else re.split(r"^\s*- ", text, flags=re.MULTILINE)
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def measured(manifest: Manifest, metrics: Mapping[str, Any]) -> list[Metric]:
    """Return the numbers of a model of any kind that the hub is told."""
    kind, names = kind_of(manifest.model.kind), headings(manifest, metrics)
    prior, samples = metrics.get("aggregate_prior"), metrics["protocol"]["iwae_samples"]
    bounds = ("bits_per_dimension", "aggregate_prior_bits_per_dimension")
    found = []
    if densities.is_density(metrics):
        of = metrics["densities"]
        found += [
            Metric(key, name, of[key], digits, samples if key in bounds else 0)
            for key, (name, digits) in densities.ROWS.items()
            if key in of
        ]
    else:
        found.append(Metric("iwae_nll", f"{densities.bound_name(metrics, names)}, nats", metrics["iwae_nll"], 2, samples))
        if prior:
            name = f"{densities.bound_name(metrics, names, prior)}, nats"
            found.append(Metric("aggregate_prior_iwae_nll", name, prior["iwae_nll"], 2, samples))
        found.append(Metric("elbo", "ELBO, nats", metrics["elbo"], 2))
    found += [
        Metric("kl", "KL(posterior, prior), nats", metrics["kl"], 2),
        Metric("active_units", f"active units of {manifest.model.latent_dim}", metrics["active_units"], 0),
    ]
    found += [
        Metric("accuracy", f"{neighbors.named(key)}, %", 100 * share, 2)
        for key, share in metrics.get(neighbors.KEY, {}).items()
        if key in ("chosen", "l2")
    ]
    found += [
        Metric("frechet_distance", f"Fréchet distance of samples of {words}, features of a small net", of["frechet"], 2)
        for key, words in (("own_prior", "the trained prior"), ("aggregate_prior", "the fitted prior"))
        if (of := metrics.get(SAMPLES, {}).get(key))
    ]
    return [one._replace(name=kind.worded(one.name)) for one in found] + [*_of_sequences(metrics), *_of_tables(metrics)]


def _of_sequences(metrics: Mapping[str, Any]) -> Iterator[Metric]:
    if SEQUENCES in metrics:
        found = metrics[SEQUENCES]
        yield Metric("latent_gain", "log likelihood that the latent gains, nats", found["latent_gain"], 2)
        yield Metric("found_again", "decoded items that are found again by their latents, %", 100 * found["found_again"], 1)


def _of_tables(metrics: Mapping[str, Any]) -> Iterator[Metric]:
    if TABLE in metrics:
        found = metrics[TABLE]
        for key, words in (("reconstruction", "reconstruction"), ("imputation", "imputation of hidden cells")):
            if "rmse_ratio" in found[key]:
                yield Metric(f"{key}_rmse_ratio", f"{words}: RMSE over that of the mean", found[key]["rmse_ratio"], 3)
            if "accuracy" in found[key]:
                yield Metric(f"{key}_accuracy", f"{words}: accuracy, %", 100 * found[key]["accuracy"], 1)
        for name, value in found["anomalies"].items():
            yield Metric("roc_auc", f"anomalies, {name}: AUROC", value, 3)


class Literal(str):
    """Text that is written without quotes: a number."""


def yaml_lines(value: Mapping[str, Any] | list[Any]) -> list[str]:
    """Return mappings, lists and texts as lines of YAML. Texts that could mean something else are quoted."""
    lines = []
    for key, one in value.items() if isinstance(value, Mapping) else ((None, one) for one in value):
        first = "- " if key is None else f"{key}:"
        if isinstance(one, str):
            lines.append(f"{first}{' ' * (key is not None)}{one if isinstance(one, Literal) else _text(one)}")
        elif key is None:
            inner = yaml_lines(one)
            lines += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
        else:
            lines += [first, *(f"  {line}" for line in yaml_lines(one))]
    return lines


def _text(text: str) -> str:
    plain = text.replace("-", "").replace("/", "").replace("_", "").replace(".", "")
    # Words such as "no", and dates and numbers, would be read as something else.
    if plain.isascii() and plain.isalnum() and text[:1].isalpha() and text.lower() not in RESERVED:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08X}" for one in quoted) + '"'


RESERVED = ("y", "n", "yes", "no", "true", "false", "on", "off", "null")
