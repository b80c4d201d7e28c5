"""How models of tables are measured: imputation of hidden cells and anomalies, beside what any kind has."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.data.items import Splits
from models.distributions import DiagonalGaussian
from models.evaluate import table
from models.evaluate.kinds.measuring import Measuring
from models.imputation import cell_surprise, layout_of, parameters_at
from models.mixture import FittedPrior
from models.scores import Array
from models.vae import VAE


class TableMeasuring(Measuring):
    """The measurement of rows of a table."""

    scores: ClassVar[tuple[str, ...]] = ("nll", "deviance", "surprise")
    # Latents say little about single wrong cells: `knn` made the combination worse, see docs/tables.md.
    default_scores: ClassVar[tuple[str, ...] | None] = ("surprise",)
    parts: ClassVar[str] = "cells"
    explained: ClassVar[Mapping[str, str]] = {table.KEY: "Imputation and anomalies"}

    def values(self, vae: VAE, data: Mapping[str, Any], seed: int) -> str:
        return "standardised numbers, whose nats are densities, and categories; missing cells have no part"

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
        _, protocol = super().more(vae, splits, metrics, data, prior, seed, device)
        train, test = splits.train.x.cpu().numpy(), splits.test.x.cpu().numpy()
        return {table.KEY: table.table_numbers(vae, splits.preprocessing, train, test, seed)}, {
            **protocol,
            table.KEY: table.PROTOCOL,
        }

    def item_scores(self, vae: VAE, rows: Tensor, posterior: DiagonalGaussian) -> dict[str, Array]:
        """Return nll; the deviance, that is the surprise of all cells at z = mu; and that of each cell given the others."""
        x = rows.cpu().numpy()
        return {
            **super().item_scores(vae, rows, posterior),
            "deviance": layout_of(vae).surprise(parameters_at(vae, posterior.mu), x).sum(1),
            "surprise": cell_surprise(vae, x).sum(1),
        }

    def rows(self, metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        return (
            [(what, value, table.KEY) for what, value in table.card_rows(metrics[table.KEY])] if table.KEY in metrics else []
        )

    def table(self, metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
        found = table.column_rows(metrics[table.KEY]) if table.KEY in metrics else []
        return [("column", "imputation", "mean or most frequent", "reconstruction"), *found] if found else []
