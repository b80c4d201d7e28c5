"""Pictures to be loaded in bulk, and what became of them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from service.formats import png


def files(count: int) -> list[bytes]:
    """Plain PNGs of 8 x 8, with some JPEGs and pictures of another size among them."""
    pictures = np.random.default_rng(3).integers(0, 256, (count, 8, 8, 1), np.uint8)
    found = png.write_each(pictures)
    for i in range(5, count, 50):
        out = io.BytesIO()
        Image.fromarray(pictures[i, ..., 0]).resize((11, 9)).save(out, "JPEG" if i % 100 == 5 else "BMP")
        found[i] = out.getvalue()
    return found


def write_folder(folder: Path, contents: list[bytes]) -> Path:
    for i, content in enumerate(contents):
        path = folder / f"{i % 10}" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_parquet(path: Path, contents: list[bytes], rows: int = 64, nested: bool = False) -> Path:
    """Write pictures as data sets of Hugging Face have them (`nested`), or as plain bytes."""
    column = [{"bytes": one, "path": None} for one in contents] if nested else contents
    table = pa.table(
        {"image": column, "key": [f"k{i}" for i in range(len(contents))], "label": [i % 3 for i in range(len(contents))]}
    )
    pq.write_table(table, path, row_group_size=rows)
    return path


def found_in(directory: Path) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Ids, mu and sigma of all parts."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted(directory.glob("part-*.parquet")))
    mu, sigma = (np.stack(table[name].to_numpy()) for name in ("mu", "sigma"))
    return table["id"].to_pylist(), mu, sigma


def unreadable_in(path: Path) -> dict[str, str]:
    """The reasons by id."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: line["reason"] for line in lines}
