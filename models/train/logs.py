"""The log of a run, one entry each epoch, and the sums over the steps of an epoch."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from models.train.event_log import EventLog
from models.train.losses import Loss
from models.train.resume import MetricsLog
from models.train.run import COLLAPSE, Run

# Losses of so many steps are fetched from the device at once.
FETCHED = 50


class Logs:
    """Writes the numbers of each epoch to a file of JSON lines, to the terminal, and to TensorBoard if asked."""

    def __init__(self, run: Run, step: int) -> None:
        self._lines = MetricsLog(run.directory / "metrics.jsonl", step)
        self._events = EventLog(run.directory / "tensorboard", step) if run.args.tensorboard else None
        self._told: set[str] = set()
        self._collapsed, self._unit = False, run.training.unit
        self._beta, self._warming = run.objective.beta, False
        self._is_elbo = run.objective.criterion == "elbo" and not run.objective.remark()

    def write(self, entry: dict[str, Any]) -> None:
        """Write one epoch. The terminal shows each warning and the end of the warm-up once; the file has everything."""
        self._lines.write(entry)
        if self._events:
            self._events.write(entry)
        terms = entry["validation"]
        loss = "" if self._is_elbo else f"loss {entry['train']['loss']:.2f}, "  # Otherwise the loss is the negative ELBO.
        bound = f", bound {terms['bound']:.2f}" if "bound" in terms else ""
        tqdm.write(f"epoch {entry['epoch']}: {loss}train ELBO {entry['train']['elbo']:.2f}, "
                   f"validation ELBO {terms['elbo']:.2f}{bound} (KL {terms['kl']:.2f}, {terms['active_units']} active units), "
                   f"{entry[f'{self._unit}_per_second']:.0f} {self._unit}/s")  # fmt: skip
        news = [f"warning: {warning}" for warning in entry["warnings"] if warning not in self._told]
        if self._warming and entry["beta"] == self._beta:
            news.append(f"the warm-up is over: the effective beta is {self._beta:g}")
        for line in news:
            tqdm.write(line, file=sys.stderr)
        self._collapsed = any(warning.startswith(COLLAPSE) and warning in self._told for warning in entry["warnings"])
        self._told.update(entry["warnings"])
        self._warming = entry["beta"] < self._beta

    def close(self) -> None:
        """Close the files, and say so if a collapse that was told long ago has lasted."""
        if self._collapsed:
            tqdm.write(f"warning: the run ended with the {COLLAPSE} of which a warning above speaks", file=sys.stderr)
        if self._events:
            self._events.close()


class Totals:
    """Running sums over the steps of an epoch: loss, log likelihood, KL, number of steps.

    They are added in the order of the steps, so that a resumed run gets the same sums, and fetched from the device for many
    steps at once, so that a step does not wait for them.
    """

    def __init__(self, sums: Sequence[float]) -> None:
        self._sums = list(sums) or [0.0] * 4
        self._waiting: list[Loss] = []

    def add(self, loss: Loss) -> None:
        """Add one step."""
        self._waiting.append(loss)
        if len(self._waiting) == FETCHED:
            self.sums()

    def sums(self) -> list[float]:
        """Return the sums over all steps so far."""
        if self._waiting:
            values = torch.stack([loss.value for loss in self._waiting])
            terms = [torch.stack([loss.elbo[i] for loss in self._waiting]).mean(1) for i in range(2)]
            for step in torch.stack([values, *terms, torch.ones_like(values)], 1).tolist():
                self._sums = [total + number for total, number in zip(self._sums, step, strict=True)]
            self._waiting.clear()
        return self._sums
