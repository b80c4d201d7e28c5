"""The pictures that a calibration compares with: those that training held out or, where nothing is recorded, those of --data.

Knows nothing of scores.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.data import Items, Splits, rows_of
from models.evaluate.measure import training_choice
from models.readers.download import DataError

UNRECORDED = "the checkpoint does not record which pictures those had held out"
ASSUMED = "the checkpoint does not record what it was trained on, so they are taken as new to it"
# Of the training pictures of --data, if the net was trained on none of them: the others are what latents are compared with.
GIVEN_SHARE, GIVEN_SEED = 0.5, 0


def is_recorded(data: Mapping[str, Any]) -> bool:
    """Return whether the `data` of a manifest say which pictures were held out in training."""
    return isinstance(data.get("training"), dict)


def given_split(name: str, splits: Splits) -> tuple[Items, Items, str]:
    """Return pictures to compare latents with, held-out pictures, and a description of these. Raises DataError.

    `name` is the data set that the user gave for a model of which nobody recorded what it was trained on.
    """
    if splits.validation is not None:
        return splits.train, splits.validation, f"the validation split of {name}; {ASSUMED}"
    rows, held_out = rows_of(splits.train, GIVEN_SHARE, GIVEN_SEED)
    _check(rows, held_out)
    how = f"{100 * GIVEN_SHARE:g} % of the training pictures of {name} (random, seed {GIVEN_SEED}); {ASSUMED}"
    return splits.train[rows], splits.train[held_out], how


def held_out_split(data: Mapping[str, Any], splits: Splits) -> tuple[Items, Items, str]:
    """Return the pictures that the net was trained on, those that it was not, and a description of these. Raises DataError."""
    if splits.validation is not None:
        return splits.train, splits.validation, "validation, a split of the data set's own"
    if not is_recorded(data):
        raise DataError(
            "the checkpoint does not record which pictures were held out in training, so that there is no validation split to "
            "calibrate on; add --data DATA with pictures that it was not trained on, or train it again"
        )
    choice = training_choice(data["training"])
    stages, start, unknown = 1, data.get("init_from"), ""
    while isinstance(start, dict):
        earlier = start.get("data")
        if not isinstance(earlier, dict) or not isinstance(earlier.get("training"), dict):
            unknown = f"; the training began with the weights {str(start.get('digest'))[:12]}; {UNRECORDED}"
            break
        if earlier.get("name") == data.get("name") and (before := training_choice(earlier["training"])) != choice:
            raise DataError(
                f"the weights were trained in stages that held out different pictures: (share, seed, kind) was {before}, then "
                f"{choice}, so that no validation split is new to the net; calibrate needs the same in all stages"
            )
        stages, start = stages + 1, earlier.get("init_from")
    rows, held_out = rows_of(splits.train, *choice)
    _check(rows, held_out)
    share, seed, kind = choice
    part = "a share" if share is None else f"{100 * share:g} %"
    staged = f", the same in all {stages} stages of the training" if stages > 1 else ""
    how = f"validation, {part} of the training pictures ({kind}, seed {seed}){staged}{unknown}"
    return splits.train[rows], splits.train[held_out], how


def _check(rows: Tensor, held_out: Tensor) -> None:
    if not len(held_out) or not len(rows):
        raise DataError(
            f"the validation split has {len(held_out)} pictures and the training split {len(rows)}: both need some"
        )
