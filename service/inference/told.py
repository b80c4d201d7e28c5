"""What a conditional model is told about the items of a request: their labels, which go beside rows and latents.

Knows nothing of HTTP, seeds or stores.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.condition import Condition, NoSuchValue, with_labels, without_labels
from models.vae import VAE
from service.inference.priors import NoSuchLabel

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.served_model import ServedModel

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class NoLabel(NoSuchLabel):
    """A conditional model was not told the label of the items."""


class WrongLabels(NoSuchLabel):
    """The labels of a request do not fit: neither one nor one for each item, or they contradict each other or the metadata."""


def labels_of(model: "ServedModel", asked: Sequence[str] | None) -> Labels | None:
    """Return the indices of the labels that a request has, (n,). Raises NoSuchLabel, NoLabel.

    A model without a condition takes none: None.
    """
    condition = model.condition
    if condition is None:
        if asked is not None:
            raise NoSuchLabel(
                f"the model {model.name!r} is not conditional, so it takes no label here. Leave out label, or choose a model "
                "with a condition, see /models."
            )
        return None
    if asked is None:
        raise NoLabel(
            f"label is missing: the model {model.name!r} must be told the {condition.key} of each item. Add label, one of "
            f"{condition.listed}."
        )
    try:
        return np.array([condition.index(label) for label in asked], np.int64)
    except NoSuchValue as error:
        raise NoSuchLabel(f"the model {model.name!r} has no label {error.value[:80]!r}. Choose {condition.choices}.") from None


def told_rows(inference: "Inference", rows: NDArray[Any], count: int, first: int = 0) -> NDArray[Any]:
    """Return rows for the encoder with their labels; `count` is that of the request, `first` the index of the first of these.

    Raises NoSuchLabel, NoLabel, WrongLabels.
    """
    if inference.model.condition is None and inference.label is None:
        return rows
    labels = labels_of(inference.model, inference.label)
    if labels is None:
        return rows
    check_count(labels, count)
    return with_labels(rows, np.broadcast_to(labels, count)[first : first + len(rows)])


def check_count(labels: Sequence[str] | Labels, count: int) -> None:
    """Raise WrongLabels unless there is one label for all items, or one for each."""
    if len(labels) not in (1, count):
        raise WrongLabels(f"label has {len(labels)} entries for {count} items: give one for all, or one for each.")


def told_latents(inference: "Inference", z: Floats) -> Floats:
    """Return latents for the decoder with their labels: (n, D) -> (n, D + 1). Raises NoSuchLabel, NoLabel, WrongLabels.

    With several labels, the latents of each item stand together. Latents that have their label already stay as they are.
    """
    if inference.model.condition is None and inference.label is None:
        return z
    if z.shape[1] > inference.model.latent_dim:
        return z
    labels = labels_of(inference.model, inference.label)
    if labels is None:
        return z
    if len(z) % len(labels):
        raise WrongLabels(f"label has {len(labels)} entries for {len(z)} latents: give one for all, or one for each.")
    return beside(z, np.repeat(labels, len(z) // len(labels)))


def beside(z: Floats, labels: Labels) -> Floats:
    """Return latents (n, D) and their labels (n,) as rows of the decoder, float32 (n, D + 1)."""
    return np.concatenate([z, labels[:, None].astype(np.float32)], 1)


def with_each(z: Floats, labels: Labels) -> Floats:
    """Return k latents of each item, (n, k, D), with the label of the item, (n,): float32 (n, k, D + 1)."""
    own = np.broadcast_to(labels.astype(np.float32)[:, None, None], (*z.shape[:2], 1))
    return np.concatenate([z, own], 2)


def in_turn(condition: Condition | None, count: int) -> Labels | None:
    """Return labels for rows to warm up with, each value in turn; None without a condition."""
    return None if condition is None else np.arange(count) % len(condition)


def encoding(vae: VAE, rows: Tensor) -> tuple[VAE, Tensor]:
    """Return the model that knows the labels of rows of the encoder, and the rows without them."""
    if vae.config.condition is None:
        return vae, rows
    own, labels = without_labels(rows)
    return vae.given(labels), own


def decoding(vae: VAE, rows: Tensor) -> tuple[VAE, Tensor]:
    """Return the model that knows the labels of rows of the decoder, and the latents (B, D)."""
    if vae.config.condition is None:
        return vae, rows
    return vae.given(rows[:, -1].round().to(torch.int64)), rows[:, :-1]
