"""Compares a loaded model with the golden answers beside its weights. Knows nothing of files or HTTP."""

from collections.abc import Mapping

import numpy as np

from models.golden import Golden
from service.engine.device import Precision
from service.inference.inference import Inference
from service.inference.served_model import ServedModel

# The tolerance of a golden answer is that of float32; other precisions multiply it.
SLACK: Mapping[Precision, float] = {"float32": 1, "tf32": 10, "bf16": 100}


class WrongAnswer(Exception):
    """A model that does not answer as its golden answer says."""


async def check_golden(model: ServedModel, golden: Golden, precision: Precision) -> None:
    """Compare a model's answers with its golden answers. Raises WrongAnswer.

    What a sequence is depends on each step before: one that is nearly as likely as another may differ on another machine.
    So only the posteriors of sequences are compared.
    """
    kind, inference = model.kind, Inference(model)
    posteriors, means = [], []
    for i in range(len(golden.x)):  # One at a time: max_rows may be 1.
        if model.condition is not None and golden.labels is not None:
            inference.label = (model.condition.values[int(golden.labels[i])],)
        posteriors.append(await kind.posteriors(golden.x[i : i + 1], inference))
        with kind.decoding(inference, 1) as decode:
            means.append(kind.golden_mean(await decode(golden.mu[i : i + 1])))
    posterior, mean = np.concatenate(posteriors), golden.mean if kind.steps else np.concatenate(means)
    found = golden.difference(posterior[:, 0], posterior[:, 1], mean, SLACK[precision])
    if found:
        raise WrongAnswer(f"its answers differ from those recorded beside its weights (golden.safetensors): {found}")
