"""config.json with one value changed, missing or too many: the message names the file and the key, in plain English."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from models import VAE, VAEConfig, checkpoint
from models.checkpoint import CheckpointError
from models.kinds.column import Column
from models.kinds.strokes import StrokeFormat
from models.kinds.table import Columns
from models.kinds.text import TextFormat

OTHERS: tuple[Any, ...] = (None, True, 1.5, -1, 0, 10**30, "x", "", [], [None], ["x"], {}, {"a": 1}, [[1]], 1e308)
# words of Python's own messages
PYTHON = re.compile(
    r"__init__|object is not|has no attribute|argument must|unsupported operand|not supported between|positional argument|"
    r"keyword argument|unhashable|must be real number|cannot be interpreted|object of type|indices must|not iterable|could not"
)
TABLE = Columns((Column("age", "number", low=0, high=9), Column("size", "category", categories=("s", "l"))))
MODELS: dict[str, tuple[VAEConfig, Any]] = {
    "picture": (VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [4]}, "gaussian", {"sigma": 0.5}), None),
    "vamp": (VAEConfig((1, 8, 8), 2, "gated", {"hidden": [4]}, "bernoulli", {}, "vamp", {"pseudo_inputs": 3}), None),
    "conv": (VAEConfig((3, 8, 8), 2, "conv", {"channels": [4], "hidden": 4}, "continuous_bernoulli"), None),
    "table": (
        VAEConfig((2,), 2, "table", {"cardinalities": [0, 2]}, "columns", {"cardinalities": [0, 2], "floors": [0.1, 0.1]},
                  kind="table"),
        TABLE,
    ),
    "text": (
        VAEConfig((5,), 2, "lstm", {"outputs": 3, "encoder": 4, "decoder": 4}, "categorical", kind="text"),
        TextFormat(5, ["a", "b"]),
    ),
    "strokes": (
        VAEConfig((5, 3), 2, "lstm", {"outputs": 9, "encoder": 4, "decoder": 4}, "mixture", kind="strokes"),
        StrokeFormat(5, 1.0, 3.0),
    ),
}  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are values in a configuration: the keys and indices that lead to each."""
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*at, key))


def copied(config: dict[str, Any], at: tuple[Any, ...]) -> tuple[dict[str, Any], Any]:
    """Return a copy of a configuration, and the object or list in it to which some keys lead."""
    found = copy = deepcopy(config)
    for key in at:
        found = found[key]
    return copy, found


def changed(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Configurations with one change each, and the key that was changed."""
    for at in places(config):
        copy, place = copied(config, at)
        if isinstance(place, dict):
            place["surprise"] = 1
            yield "surprise", copy
        if not at:
            continue
        copy, place = copied(config, at[:-1])
        del place[at[-1]]
        yield str(at[-1]), copy
        for other in OTHERS:
            copy, place = copied(config, at[:-1])
            place[at[-1]] = other
            yield str(at[-1]), copy


@pytest.mark.parametrize("name", MODELS)
def test_every_change_is_explained_or_harmless(name: str, tmp_path: Path) -> None:
    config, preprocessing = MODELS[name]
    torch.manual_seed(0)
    checkpoint.save(tmp_path, VAE(config), preprocessing)
    file, refused = tmp_path / checkpoint.CONFIG, 0
    for key, content in changed(json.loads(file.read_text())):
        file.write_text(json.dumps(content))
        try:
            checkpoint.read(tmp_path)
        except CheckpointError as error:
            said = str(error)
            refused += 1
            assert said.startswith(str(tmp_path)), content
            assert PYTHON.search(said) is None, (said, content)
            assert key != "surprise" or "'surprise'" in said, said
        else:
            assert key != "surprise" or "surprise" in content["data"], content
    assert refused > 50


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("licence", "MIT", "it has the unknown key 'licence'; known keys: model, preprocessing, data"),
        ("modell", {}, "it has the unknown key 'modell'; did you mean 'model'?"),
        ("data", None, "data must be an object, not None"),
        ("model", None, "model must be an object, not None"),
    ],
)
def test_keys_of_the_whole(key: str, value: object, reason: str, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, VAE(MODELS["picture"][0]))
    file = tmp_path / checkpoint.CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(tmp_path)
    assert str(caught.value).startswith(f"{file}: {reason}")
