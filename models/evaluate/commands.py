"""The commands that train and measure a model again, as its card and its report show them. Knows nothing of either."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.readers.holding_out import SHARES
from models.train.arguments import PLACES
from models.train.flags import build_parser
from models.train.kinds import training_for
from models.train.model_flags import ONLY_WITH, has_effect


def evaluate_command(directory: Path, metrics: Mapping[str, Any]) -> str:
    """Return the command that measures the model again, and fits its prior again if it has a fitted one."""
    protocol, prior = metrics["protocol"], metrics.get("aggregate_prior")
    options = " --prior-covariance diagonal" if prior and prior["covariance"] == "diagonal" else ""
    if prior and "candidates" in prior:
        options += f" --prior-components {','.join(map(str, prior['candidates']))}"
    # Training fits a prior by itself, from fewer pictures; measuring again must not replace it.
    fit = f" --fit-prior{options}" if prior and prior.get("fitted_by") != "models.train" else ""
    limit = f" --limit {protocol['limit']}" if "limit" in protocol else ""
    return (
        f"python -m models.evaluate {directory.as_posix()} --samples {protocol['iwae_samples']} --seed {protocol['seed']}"
        f"{limit}{fit}"
    )


def train_commands(directory: Path, data: Mapping[str, Any]) -> list[str]:
    """Return the commands that train the model again: first those of the checkpoint that it started from, if recorded.

    There are none for a model that was not trained here.
    """
    if data.get("layout") == "diffusers":  # which is written from the checkpoint of a run
        run = Path("runs") / directory.name
        own = {key: value for key, value in data.items() if key != "layout"}
        return [*train_commands(run, own), f"python -m models.train.to_diffusers {run.as_posix()} {directory.as_posix()}"]
    last = [train_command(directory, data["training"])] if data.get("training") else []
    start = data.get("init_from")
    earlier = start.get("data") if isinstance(start, dict) else None
    if not isinstance(start, dict) or not isinstance(earlier, dict) or not isinstance(earlier.get("training"), dict):
        return last
    return [*train_commands(Path(str(start.get("path"))), earlier), *last]


def train_command(directory: Path, training: dict[str, Any]) -> str:
    """Return the command that trains the model again: the data and all recorded arguments that are not defaults.

    Those without an effect, such as --sigma of a preset whose likelihood was changed, would be refused, and are left out.
    """
    parser = build_parser()
    parser.set_defaults(validation=SHARES["random"] if training.get("validation_split", "random") == "random" else None)
    parser.set_defaults(**training_for(str(training.get("data"))).defaults)
    words = ["python -m models.train"]
    values = {**{other: parser.get_default(other) for other, _ in ONLY_WITH.values()}, **training}
    for key, value in training.items():
        if (
            key in PLACES
            or value is None
            or (value == parser.get_default(key) and key != "data")
            or not has_effect(key, values)
        ):
            continue
        text = ("x" if key == "size" else ",").join(map(str, value)) if isinstance(value, list) else value
        words.append(f"--{key.replace('_', '-')} {shlex.quote(str(text))}")
    return " ".join([*words, f"--out {directory.as_posix()}"])
