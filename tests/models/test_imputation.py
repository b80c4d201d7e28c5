"""A net that learns penguins fills hidden cells better than means and modes, and finds the cell that was spoilt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import CheckpointError, read, save
from models.data import load_data
from models.evaluate.table import table_numbers
from models.imputation import cell_surprise, decoded, impute
from models.kinds.column import Column
from models.kinds.table import Columns
from models.kinds.table_rows import Rows
from models.objective import evidence_lower_bound
from models.vae import VAE, VAEConfig


@pytest.fixture(scope="module")
def rows(penguins: Path) -> tuple[Columns, Rows, Rows]:
    splits = load_data(f"csv:{penguins}", Path())
    return splits.preprocessing, splits.train.x.numpy(), splits.test.x.numpy()


def config(spec: Columns) -> VAEConfig:
    cardinalities = [column.cardinality for column in spec.columns]
    return VAEConfig(
        spec.shape, 4, "table", {"cardinalities": cardinalities, "hidden": [64]},
        "columns", {"cardinalities": cardinalities, "floors": [column.floor for column in spec.columns],
         "ranges": [column.ends for column in spec.columns]}, kind="table",
    )  # fmt: skip


@pytest.fixture(scope="module")
def vae(rows: tuple[Columns, Rows, Rows]) -> VAE:
    """A net after 600 steps, with which the ELBO is worth something."""
    spec, train, _ = rows
    torch.manual_seed(0)
    vae, x = VAE(config(spec)), torch.from_numpy(train)
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    for _ in range(600):
        batch = x[torch.randint(len(x), (64,))]
        loss = evidence_lower_bound(vae, batch, torch.randn(64, 4)).loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae.eval()


def test_imputation_keeps_known_cells_and_beats_means_and_modes(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    spec, train, test = rows
    filled = impute(vae, spec, test)
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(test)], test[~np.isnan(test)])
    found = table_numbers(vae, spec, train, test, seed=0)
    assert found["imputation"]["rmse_ratio"] < 0.8
    assert found["imputation"]["accuracy"] > 0.6 > found["imputation"]["usual_accuracy"]
    assert found["reconstruction"]["accuracy"] > 0.85
    assert min(found["anomalies"].values()) > 0.85
    assert set(found["imputation"]["columns"]) == set(spec.names)


def test_the_spoilt_cell_is_the_most_surprising(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    spec, _, test = rows
    spoilt = test[~np.isnan(test).any(1)].copy()
    mass = spec.names.index("body_mass_g")
    spoilt[:, mass] = -spoilt[:, mass] + 5 * np.sign(-spoilt[:, mass])
    surprise = cell_surprise(vae, spoilt)
    assert (surprise.argmax(1) == mass).mean() > 0.9


def test_surprise_of_a_cell_does_not_depend_on_the_cell(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    """What is expected of a cell comes from the others, so that its surprise is a parabola of the cell."""
    spec, _, test = rows
    one = test[:1].copy()
    mass = spec.names.index("body_mass_g")
    values = []
    for entry in (0.0, 10.0, 20.0):
        one[0, mass] = entry
        values.append(cell_surprise(vae, one)[0, mass])
    sigma = spec.parameters.sigma(decoded(vae, one))[0, mass]
    assert values[0] - 2 * values[1] + values[2] == pytest.approx((10 / sigma) ** 2, rel=1e-3)
    hidden = one.copy()
    hidden[0, mass] = np.nan
    assert cell_surprise(vae, hidden)[0, mass] == 0


def test_missing_cells_have_no_part_in_the_likelihood(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    x = torch.from_numpy(rows[2])
    z = torch.zeros(len(x), 4)
    whole = vae.decode(z).log_prob(x)
    assert torch.isfinite(whole).all()
    without = x.clone()
    without[:, 2] = torch.nan
    per_column = vae.decode(z).log_prob_per_column(x)  # type: ignore[attr-defined]
    torch.testing.assert_close(vae.decode(z).log_prob(without), whole - per_column[:, 2])


def test_means_are_those_of_the_arrays_within_the_training_range(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    """The service turns parameters into rows, and compares them with the golden answer, which torch made."""
    spec = rows[0]
    z = 4 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cells = vae.decode(z)
        found = spec.parameters.expected(cells.parameters.numpy())  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, cells.mean.numpy(), atol=2e-6)
    mass = spec.names.index("body_mass_g")
    assert set(np.unique(found[:, mass].round(4))) >= {round(end, 4) for end in map(np.float32, spec.columns[mass].ends)}


def test_the_encoder_drops_cells_only_while_it_trains(vae: VAE, rows: tuple[Columns, Rows, Rows]) -> None:
    x = torch.from_numpy(rows[2])
    assert torch.equal(vae.encode(x).mu, vae.encode(x).mu)
    vae.train()
    assert not torch.equal(vae.encode(x).mu, vae.encode(x).mu)
    vae.eval()


@pytest.mark.parametrize(
    ("net", "likelihood", "message"),
    [
        ({"cardinalities": [0, 3, 1]}, {}, "cardinalities are 3, but a row has the shape"),
        ({"cardinalities": [0, 3, 1, -1, 0, 0, 0, 0]}, {}, "cardinalities must be integers from 0 to 1000"),
        ({"drop_cells": 1}, {}, "drop_cells must be a probability below 1"),
        ({}, {"floors": [0.1]}, "floors must be a list of 8 numbers"),
        ({}, {"ranges": [[0, 1]]}, "ranges must be 8 pairs of finite numbers"),
        ({}, {"ranges": [[1, 0]] * 8}, "ranges must be 8 pairs of finite numbers"),
        ({}, {"floors": [0] * 8}, "floors must be numbers from 0.0001 to 1"),
    ],
)
def test_options_out_of_range_are_refused(
    rows: tuple[Columns, Rows, Rows], net: dict[str, object], likelihood: dict[str, object], message: str
) -> None:
    good = config(rows[0])
    bad = VAEConfig(
        good.shape, 4, "table", good.arch_options | net, "columns", good.likelihood_options | likelihood, kind="table"
    )
    with pytest.raises(ValueError, match=message):
        VAE(bad)


def test_a_net_and_a_likelihood_of_different_columns_are_refused(rows: tuple[Columns, Rows, Rows]) -> None:
    good = config(rows[0])
    other = {"cardinalities": [0] * 8, "floors": [0.1] * 8}
    vae = VAE(VAEConfig(good.shape, 4, "table", good.arch_options, "columns", other, kind="table"))
    with pytest.raises(ValueError, match="the net answers"):
        vae.decode(torch.zeros(2, 4))


def test_a_checkpoint_is_saved_and_read_with_its_columns(vae: VAE, rows: tuple[Columns, Rows, Rows], tmp_path: Path) -> None:
    spec, _, test = rows
    save(tmp_path / "whole", vae, spec)
    found = read(tmp_path / "whole")
    assert found.manifest.preprocessing == spec
    np.testing.assert_array_equal(impute(found.vae, spec, test), impute(vae, spec, test))
    other = replace(spec, columns=(*spec.columns[:-1], Column("year", "boolean", categories=("no", "yes"))))
    with pytest.raises(ValueError, match="the net has the cardinalities"):
        save(tmp_path / "other", vae, other)
    config = tmp_path / "whole" / "config.json"
    config.write_text(config.read_text().replace('"type": "number"', '"type": "date"', 1))
    with pytest.raises(CheckpointError, match="type must be one of number, category, boolean, not 'date'"):
        read(tmp_path / "whole")
