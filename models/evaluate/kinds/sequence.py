"""How models of drawings and texts are measured: what the latent is worth, and whether a decoded item is found again."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.data.items import Splits
from models.evaluate.kinds.measuring import Measuring
from models.evaluate.sequences import KEY, number_rows, protocol, sequence_numbers
from models.mixture import FittedPrior
from models.vae import VAE


class SequenceMeasuring(Measuring):
    """The measurement of sequences."""

    parts: ClassVar[str] = "steps"
    explained: ClassVar[Mapping[str, str]] = {KEY: "Sequences"}

    def more(
        self,
        vae: VAE,
        splits: Splits,
        metrics: Mapping[str, Any],
        data: Mapping[str, Any],
        prior: FittedPrior | None,
        seed: int,
        device: torch.device,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        rows = splits.test.x
        numbers = sequence_numbers(vae, rows, splits.preprocessing, metrics["log_likelihood"], metrics["elbo"])
        return {KEY: numbers}, {KEY: protocol(len(rows)), "left_out": self.left_out}

    def rows(self, metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        return [(what, value, KEY) for what, value in number_rows(metrics)]

    def strangers(self, rows: Tensor, seed: int) -> dict[str, Tensor]:
        """Return rows with their steps in random order, and rows whose second half is that of another."""
        noise = torch.Generator().manual_seed(seed)
        lengths = self.kind.lengths(rows)
        if lengths is None:
            return super().strangers(rows, seed)
        shuffled, halves = rows.clone(), rows.clone()
        others = torch.randperm(len(rows), generator=noise)
        for i, (length, other) in enumerate(zip(lengths.tolist(), others.tolist(), strict=True)):
            shuffled[i, :length] = rows[i, torch.randperm(length, generator=noise)]
            first, second = length // 2, int(lengths[other]) // 2
            rest = rows[other, second : min(second + rows.shape[1] - first, rows.shape[1])]
            halves[i, first : first + len(rest)] = rest
        return {"steps in random order": shuffled, f"second half from another {self.kind.noun}": halves}
