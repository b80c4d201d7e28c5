"""Fill the missing cells of a table, and say how surprising each cell is given the others of its row.

The cells that are there are encoded, mu is decoded, and missing cells get what the decoder expects. docs/tables.md compares
this with pseudo-Gibbs sampling (Rezende et al. 2014, arXiv:1401.4082, appendix F) and with importance weights (Mattei &
Frellsen 2019, arXiv:1812.02633): they are no better, because the encoder learns with cells hidden.
Knows nothing of files or HTTP.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.kinds.column import Column, Type
from models.kinds.table import Columns
from models.kinds.table_likelihood import Parameters
from models.kinds.table_rows import Rows, fill, hide_each
from models.vae import VAE

BLOCK = 1 << 14  # rows that the net gets at a time


@torch.no_grad()
def decoded(vae: VAE, rows: Rows) -> NDArray[np.float32]:
    """Return the parameters of the likelihood at z = mu of each row: (N, K) -> (N, P)."""
    device = next(vae.parameters()).device
    answers = list[NDArray[np.float32]]()
    for block in torch.from_numpy(np.ascontiguousarray(rows)).split(BLOCK):
        answers.append(parameters_at(vae, vae.encode(block.to(device)).mu))
    return np.concatenate(answers)


@torch.no_grad()
def parameters_at(vae: VAE, z: Tensor) -> NDArray[np.float32]:
    """Return the parameters of the likelihood at latents: (N, D) -> (N, P)."""
    likelihood: Any = vae.decode(z)
    parameters: NDArray[np.float32] = likelihood.parameters.cpu().numpy()
    return parameters


def impute(vae: VAE, spec: Columns, rows: Rows) -> Rows:
    """Return rows whose missing cells are filled: numbers with their mean, categories with the most likely one."""
    return fill(rows, spec.parameters.expected(decoded(vae, rows)))


def layout_of(vae: VAE) -> Parameters:
    """Return what turns parameters into surprise, which needs the types of the columns alone, without names and units."""
    columns = list[Column]()
    for k, size in enumerate(vae.config.arch_options["cardinalities"]):
        names = tuple(map(str, range(max(2, size)))) if size else ()
        columns.append(Column(f"column {k}", _type(size), high=0.0 if size else 1.0, categories=names))
    return Parameters(columns)


def cell_surprise(vae: VAE, rows: Rows) -> NDArray[np.float64]:
    """Return by how many nats each cell is less likely than the most likely one, given the other cells: (N, K) -> (N, K).

    0 for a missing cell. The sum over a row says how unusual it is, and the largest cell which column is.
    """
    layout, (count, columns) = layout_of(vae), rows.shape
    found = np.zeros((count, columns))
    for first in range(0, count, size := max(1, BLOCK // columns)):
        some = rows[first : first + size]
        answers = decoded(vae, hide_each(some).reshape(-1, columns))
        each = layout.surprise(answers, np.repeat(some, columns, 0)).reshape(len(some), columns, columns)
        found[first : first + len(some)] = np.diagonal(each, axis1=1, axis2=2)
    return found


def _type(size: int) -> Type:
    return "number" if not size else "boolean" if size == 1 else "category"
