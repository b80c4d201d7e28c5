"""Tables: a lane from rows to posteriors, and one from latents to the parameters of each cell. Knows nothing of HTTP."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, Manifest
from models.kinds.beside import Beside, Metadata
from models.kinds.table import Columns
from models.kinds.table_rows import hide_each
from models.readers.found import Found
from models.scores import Array
from models.vae import VAE
from service.engine.device import Device
from service.engine.lane import Lane
from service.formats.raw_items import RawItems
from service.inference.kinds.decoded_weighing import ServedAtOnce
from service.inference.kinds.rows import ServedRows
from service.inference.kinds.served_kind import Floats, Parts, encoder
from service.latents import noise as seeds

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

# The share of the cells that are missing in rows for warming up.
MISSING = 0.2
PARQUET_SUFFIXES = (".parquet", ".pq")


class ServedTable(ServedAtOnce, ServedRows):
    """A model of table rows. Rows: float32 (K,), NaN where missing; decoded: the parameters of all cells, float32 (P,)."""

    at_mu_scores = ("nll", "deviance")
    own_scores = default_scores = ("surprise",)
    is_density = True
    decodes_data = False

    def __init__(self, manifest: Manifest, lanes: dict[str, Lane], example: Floats) -> None:
        """Take the lanes, and one row."""
        self.columns: Columns = manifest.preprocessing
        super().__init__(manifest, lanes, example)

    @classmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedTable":
        vae, latents, rows = await device.aside(lambda: _with_examples(checkpoint, device))
        (encode,) = await device.lanes(encoder(vae), rows, name=f"{name} encode", finite=True)
        try:
            (decode,) = await device.lanes(decoder(vae), latents, name=f"{name} decode", finite=True)
        except BaseException:
            device.forget([encode])
            raise
        return cls(checkpoint.manifest, {"encode": encode, "decode": decode}, rows[:1])

    def look_at(self, rows: NDArray[Any], items: RawItems, inference: "Inference") -> None:
        for text in self.columns.remarks(rows, items.raw):  # such as "row 3: column 'age': ..."
            where, _, detail = text.partition(": ")
            inference.warnings.add(int(where.removeprefix("row ")), "out_of_range", detail)

    def read(self, path: Path) -> Found:
        from models.readers.table import TableOptions, read_table  # only for loading

        options = TableOptions(model=self.columns, max_corrupt=1.0, may_lack=True)  # The load counts what is corrupt.
        return read_table(path, path.suffix.lower() in PARQUET_SUFFIXES, options)

    def beside(self, path: Path, beside: Beside) -> tuple[list[str] | None, list[Metadata]]:
        from models.readers.table_cells import open_csv, open_parquet  # only for loading

        file = open_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else open_csv(path)
        texts: dict[str, list[str]] = {name: [] for name in beside.chosen(file.names, self.columns.numbers)}
        places = [file.names.index(name) for name in texts]
        for block in file.blocks():
            for name, k in zip(texts, places, strict=True):
                texts[name] += [cells[k] for _, cells in block]
        return beside.ids(texts, self.columns.is_missing), beside.metadata_of(texts, self.columns.is_missing)

    def expected(self, decoded: Floats) -> Floats:
        rows: Floats = self.columns.parameters.expected(decoded)
        return rows

    def draw(self, decoded: Floats, seed: int) -> Floats:
        columns = len(self.columns.columns)
        uniforms = np.stack([seeds.pixel_uniform(seed, item, columns) for item in range(len(decoded))])
        rows: Floats = self.columns.parameters.drawn(decoded, uniforms)
        return rows

    def nats(self, decoded: Floats, x: Floats) -> Floats:
        nats: Floats = -self.columns.parameters.nats(decoded, x).sum(1).astype(np.float32)
        return nats

    def at_mu(self, wanted: Collection[str], x: NDArray[Any], decoded: Floats) -> dict[str, Array]:
        found: dict[str, Array] = {}
        if "nll" in wanted:
            found["nll"] = -_sums(self.columns.parameters.nats(decoded, x))
        if "deviance" in wanted:
            found["deviance"] = _sums(self.columns.parameters.surprise(decoded, x))
        return found

    def log_likelihood(self, x: NDArray[Any], decoded: Floats) -> Array:
        return _sums(self.columns.parameters.nats(decoded, np.broadcast_to(x, (len(decoded), *x.shape))))

    async def score(self, pipeline: "Pipeline", inference: "Inference", x: NDArray[Any]) -> Parts:
        """Return the surprise of each cell, given the others of its row: each cell is hidden once, encoded and decoded."""
        count, columns = x.shape
        found = np.empty((count, columns))
        some = max(1, self.lanes["encode"].max_rows // columns)  # rows at a time
        for first in range(0, count, some):
            rows = x[first : first + some]
            hidden = await pipeline.offload(4 * rows.size * columns, partial(_hidden, rows))
            parts = [hidden[i : i + pipeline.max_items] for i in range(0, len(hidden), pipeline.max_items)]
            posteriors = [await pipeline.through(self.lanes["encode"], part, inference) for part in parts]
            decoded = [await pipeline.decode(np.ascontiguousarray(one[:, 0]), inference) for one in posteriors]
            compare = partial(self._surprise, np.concatenate(decoded), rows)
            found[first : first + some] = await pipeline.offload(64 * hidden.size, compare)
        return {"surprise": found}

    def _surprise(self, decoded: Floats, rows: Floats) -> Array:
        """Return the surprise of each cell, (n, K), by what was decoded with each cell hidden, (n K, P)."""
        count, columns = rows.shape
        each = self.columns.parameters.surprise(decoded, np.repeat(rows, columns, 0)).reshape(count, columns, columns)
        return np.ascontiguousarray(np.diagonal(each, axis1=1, axis2=2))

    def golden_mean(self, decoded: Floats) -> Floats:
        return self.expected(decoded)


def _hidden(rows: Floats) -> Floats:
    return hide_each(rows).reshape(-1, rows.shape[1])


def _sums(each: Array) -> Array:
    """Return the sum of each row alone, so that no other row changes its last bits: (N, K) -> (N,)."""
    return np.array([row.sum() for row in each])


def _with_examples(checkpoint: Checkpoint, device: Device) -> tuple[VAE, Floats, Floats]:
    """Return the model on the device, and rows to warm up with: latents (B, D), and rows (B, K) with missing cells."""
    vae = checkpoint.vae.to(device.torch_device).requires_grad_(False)
    columns: Columns = checkpoint.manifest.preprocessing
    latents = seeds.standard_normal(0, device.limits.max_batch, vae.config.latent_dim)
    with torch.inference_mode():
        decoded = decoder(vae)(torch.from_numpy(latents).to(device.torch_device)).float().cpu().numpy()
    noise = np.random.Generator(np.random.Philox(0)).random((2, len(latents), len(columns.columns)))
    rows = columns.parameters.drawn(decoded, noise[0])
    rows[noise[1] < MISSING] = np.nan
    return vae, latents, rows


def decoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of the decoding lane: (B, D) -> (B, P), the parameters of the likelihood."""

    def decode(z: Tensor) -> Tensor:
        parameters: Tensor = vae.decode(z).parameters  # type: ignore[attr-defined]
        return parameters

    return decode
