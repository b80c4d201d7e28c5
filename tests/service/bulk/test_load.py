"""Files into a collection, without HTTP or a command line."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.preprocess import Invert
from service.bulk.batch_encoding import encode_batch
from service.bulk.collection_output import CollectionOutput
from service.bulk.encoded import Counts, Encoded
from service.bulk.load import load
from service.bulk.processes import in_order
from service.formats import png
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.operations.encode import encode
from service.operations.load_sources import PictureBatch, source_of, sources_of
from service.operations.service import Service
from service.store.interface import Collection


async def fill(
    service: Service,
    inference: Inference,
    collection: Collection,
    path: Path,
    progress: Callable[[int], object] = lambda _: None,
    replace: bool = False,
) -> Counts:
    """Load what is at a path."""
    counts = Counts()

    async def encode(batch: PictureBatch) -> Encoded:
        return await encode_batch(service.pipeline, batch, inference, asyncio.Lock())

    output = CollectionOutput(service.store.store, collection, encode, progress, counts, replace)
    await load(partial(in_order, encode, 1), output, [source_of(path, inference.preprocessing)], counts, size=16)
    return counts


async def test_pictures_of_a_folder_are_encoded_once(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png.write(x[i].transpose(1, 2, 0)))
    progress: list[int] = []
    counts = await fill(service, inference, collection, folder, progress.append)
    assert (counts.added, counts.there, counts.unreadable) == (3, 0, [])
    (folder / "3.png").write_bytes(png.write(x[3].transpose(1, 2, 0)))
    counts = await fill(service, inference, collection, folder, progress.append)
    assert (counts.added, counts.there, counts.unreadable) == (1, 3, [])
    assert sum(progress) == 7
    items = await service.store.scan(collection.name, "", 10)
    assert items.ids == ["0.png", "1.png", "2.png", "3.png"]
    np.testing.assert_array_equal(items.mu, (await encode(service.pipeline, inference, RawItems(rows=x[:4]))).mu)


@pytest.mark.parametrize("invert", ["yes", "auto"])
async def test_arrays_are_inverted_before_they_are_padded_as_files_are(
    service: Service, inference: Inference, collection: Collection, tmp_path: Path, invert: Invert
) -> None:
    spec = replace(inference.model.manifest.preprocessing, invert=invert)
    object.__setattr__(inference.model, "manifest", replace(inference.model.manifest, preprocessing=spec))
    pictures = np.full((3, 8, 4), 255, np.uint8)
    pictures[:, 2:5, 1:3] = 9
    (tmp_path / "files").mkdir()
    for i, picture in enumerate(pictures):
        (tmp_path / "files" / f"{i}.png").write_bytes(png.write(picture[..., None]))
    np.savez(tmp_path / "x.npz", images=pictures)
    for path in (tmp_path / "files", tmp_path / "x.npz"):
        counts = await fill(service, inference, collection, path)
        assert (counts.least, counts.most) == (0, 246)
    items = await service.store.scan(collection.name, "", 10)
    np.testing.assert_array_equal(items.mu[:3], items.mu[3:])


async def test_files_that_cannot_be_read_do_not_stop_the_others(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    good = png.write(x[0].transpose(1, 2, 0))
    contents = {"0.png": good, "1.png": good[:60], "2.png": b"", "3.png": good, "4.png": b"no picture", "5.png": good}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "8.png").touch()
    os.truncate(tmp_path / "8.png", 1 << 40)  # It takes no place on the disk, and would not fit into memory.
    (tmp_path / "6.png").mkdir()
    (tmp_path / "6.png" / "7.png").symlink_to("/dev/zero")
    progress: list[int] = []
    counts = await fill(service, inference, collection, tmp_path, progress.append)
    assert (counts.added, len(counts.unreadable), sum(progress)) == (3, 5, 8)
    reasons = [
        *("corrupt or truncated", "the file is empty", "not a picture in a supported format", "is a device"),
        "more than 268435456 bytes, the memory for decoding pictures (VAE_MAX_DECODED_BYTES)",
    ]
    for name, reason, line in zip(
        ["1.png", "2.png", "4.png", "6.png/7.png", "8.png"], reasons, counts.unreadable, strict=True
    ):
        assert line.id == name
        assert line.place == str(tmp_path / name)
        assert reason in line.reason
    assert (await service.store.scan(collection.name, "", 10)).ids == ["0.png", "3.png", "5.png"]


async def test_pictures_are_at_fault_only_if_they_fail_alone(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The bound on the pixels of a request holds for a block, which is then divided."""
    pixels = np.zeros((90, 100, 1), np.uint8)  # The application allows 10,000 in a picture, and 4 times as many in a request.
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(png.write(pixels))
    counts = await fill(service, inference, collection, tmp_path)
    assert (counts.added, counts.unreadable) == (10, [])


async def test_replacing_stores_what_has_changed_and_keeps_what_others_added(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    for i, name in enumerate(["cat/0.png", "cat/1.png", "dog/2.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png.write(x[i].transpose(1, 2, 0)))
    await fill(service, inference, collection, tmp_path)
    before = await service.store.store.get(collection.name, ["cat/1.png"])
    before.metadata, before.keys = [b'{"label":"cat","note":"mine"}'], frozenset({"label", "note"})
    await service.store.store.upsert(collection.name, collection.digest, before)
    (tmp_path / "cat/1.png").write_bytes(png.write(x[4].transpose(1, 2, 0)))
    (tmp_path / "dog/3.png").write_bytes(png.write(x[3].transpose(1, 2, 0)))
    counts = await fill(service, inference, collection, tmp_path, replace=True)
    assert (counts.added, counts.replaced, counts.there) == (1, 1, 2)
    items = await service.store.store.get(collection.name, ["cat/1.png"])
    assert items.metadata == [b'{"label":"cat","note":"mine"}']
    np.testing.assert_array_equal(items.mu, (await encode(service.pipeline, inference, RawItems(rows=x[4:]))).mu)


async def test_of_two_loads_at_once_the_second_stores_only_what_is_missing(
    service: Service, inference: Inference, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The first load begins when there is no collection, and the second is done before the first one stores."""
    model, store = inference.model, service.store.store
    new = Collection("new", model.name, model.digest, model.latent_dim)
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png.write(x[i].transpose(1, 2, 0)))

    async def encode(batch: PictureBatch) -> Encoded:
        return await encode_batch(service.pipeline, batch, inference, asyncio.Lock())

    def outputs() -> tuple[CollectionOutput, Counts]:
        counts = Counts()
        return CollectionOutput(store, new, encode, lambda _: None, counts, new=True), counts

    [source] = sources_of([tmp_path], inference.preprocessing)
    (first, counts), (second, others) = outputs(), outputs()
    [batch] = source.batches(16)
    [wanted] = await first.wanted(batch)
    await load(partial(in_order, encode, 1), second, [source], others)
    await first.write(await encode(wanted))
    assert (others.added, others.replaced, others.there) == (3, 0, 0)
    assert (counts.added, counts.replaced, counts.there) == (0, 0, 3)
    assert (await store.collection("new")).seq == 3
    assert await first.wanted(batch) == []  # It sees what the other has stored.
    assert counts.there == 6


async def test_a_batch_is_read_while_another_one_is_encoded(
    service: Service, inference: Inference, x: NDArray[np.uint8], tmp_path: Path
) -> None:
    class Paths(list[str]):
        """Says when the last of the files has been read."""

        def __iter__(self) -> Iterator[str]:
            yield from super().__iter__()
            are_read.set()

    are_read, turn = threading.Event(), asyncio.Lock()
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, file in enumerate(files):
        file.write_bytes(png.write(x[i].transpose(1, 2, 0)))
    batch = PictureBatch([file.name for file in files], [{}] * 3, Paths(map(str, files)))
    async with turn:  # as if another batch were encoded
        task = asyncio.create_task(encode_batch(service.pipeline, batch, inference, turn))
        assert await asyncio.to_thread(are_read.wait, 60)
        _, waiting = await asyncio.wait([task], timeout=0.5)
        assert waiting
    encoded = await task
    np.testing.assert_array_equal(encoded.items.mu, (await encode(service.pipeline, inference, RawItems(rows=x[:3]))).mu)
