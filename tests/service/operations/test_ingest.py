"""Files into a collection, without HTTP or a command line."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.formats import png
from service.formats.pictures import Pictures
from service.inference.pipeline import Inference
from service.operations.encode import encode
from service.operations.ingest import load
from service.operations.load_sources import source_of
from service.operations.service import Service
from service.store.interface import Collection


async def test_pictures_of_a_folder_are_encoded_once(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png.write(x[i].transpose(1, 2, 0)))
    progress: list[int] = []
    store, spec = service.store.store, inference.model.manifest.preprocessing
    counts = await load(service.pipeline, store, collection, source_of(folder, spec), progress.append)
    assert (counts.added, counts.there, counts.skipped) == (3, 0, [])
    (folder / "3.png").write_bytes(png.write(x[3].transpose(1, 2, 0)))
    counts = await load(service.pipeline, store, collection, source_of(folder, spec), progress.append)
    assert (counts.added, counts.there, counts.skipped) == (1, 3, [])
    assert sum(progress) == 7
    items = await service.store.scan(collection.name, "", 10)
    assert items.ids == ["0.png", "1.png", "2.png", "3.png"]
    np.testing.assert_array_equal(items.mu, (await encode(service.pipeline, inference, Pictures(rows=x[:4]))).mu)
