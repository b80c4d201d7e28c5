"""Paths of pictures as sources: ids, labels, splits, and pictures that would have the same id."""

import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from models.preprocess import Preprocessing
from service.operations.load_sources import LoadError, PictureBatch, Source, source_of, sources_of
from service.store.names import MAX_ID
from tests.models.readers.pictures import many, noise, write, write_all

SPEC = Preprocessing(1, 8, 8)
X = noise(30, 8, 8)


def all_of(source: Source, size: int = 7) -> list[PictureBatch]:
    batches = list(source.batches(size))
    assert [id for batch in batches for id in batch.ids] == source.ids
    assert all(0 < len(batch.ids) <= size for batch in batches)
    return batches


def test_labels_and_splits_of_folders(tmp_path: Path) -> None:
    write_all(tmp_path, *many("train/cat"), *many("test/cat", 2), *many("train/dog", 3))
    source = source_of(tmp_path, SPEC)
    found = {id: own for batch in all_of(source) for id, own in zip(batch.ids, batch.metadata, strict=True)}
    assert found["train/cat/00.png"] == {"label": "cat", "split": "train"}
    assert found["test/cat/01.png"] == {"label": "cat", "split": "test"}
    assert source.summary[1] == "splits: test 2, train 9"
    write_all(tmp_path, "loose.png")
    summary = source_of(tmp_path, SPEC).summary
    assert summary[0].endswith(": 12 pictures")
    assert summary[2] == "pictures outside of the splits, loaded without a split: 1 (loose.png)"
    assert sum("loose.png" in line for line in summary) == 1


def test_arrays_with_their_splits_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=X[:20], y_train=np.arange(20), x_test=X[20:], y_test=np.arange(20, 30))
    batches = all_of(source_of(path, SPEC))
    assert [batches[0].ids[0], batches[-1].ids[-1]] == ["digits/train/000000", "digits/test/000009"]
    assert batches[-1].metadata[-1] == {"label": 29, "split": "test"}
    np.testing.assert_array_equal(
        np.concatenate([batch.pictures[:, 0] for batch in batches if isinstance(batch.pictures, np.ndarray)]), X
    )


def test_arrays_of_another_size_are_brought_to_the_models(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=noise(5, 12, 10, 3))
    source = source_of(tmp_path / "x.npz", SPEC)
    assert [batch.pictures.shape for batch in all_of(source) if isinstance(batch.pictures, np.ndarray)] == [(5, 1, 8, 8)]
    assert "all are resized to 8 x 8" in source.summary[1]


def test_the_models_size_settles_what_is_ambiguous(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=X.transpose(1, 2, 0))
    assert source_of(tmp_path / "x.npz", SPEC).count == 30


def test_names_that_are_not_utf8_and_long_ones_have_ids(tmp_path: Path) -> None:
    write(tmp_path / "plain.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    deep = tmp_path / "/".join(["d" * 100] * 8)
    write(deep / "1.png")
    write(deep / "2.png")
    ids = source_of(tmp_path, SPEC).ids
    assert ids[0] == "caf\\xe9.png"
    assert len(set(ids)) == 3
    assert all(len(id.encode()) <= MAX_ID for id in ids)


def test_the_same_id_twice_is_refused_and_a_prefix_tells_them_apart(tmp_path: Path) -> None:
    write_all(tmp_path, "a/1.png", "b/1.png")
    for name in ("a", "b"):
        np.savez(tmp_path / name / "x.npz", images=X[:2])
    folders, files, single = (
        [tmp_path / name / file for name in ("a", "b")] for file in ("", "x.npz", "1.png")
    )  # fmt: skip
    for paths, count in ((folders, "1 picture"), (files, "2 pictures"), (single, "1 picture")):
        with pytest.raises(LoadError, match=f"^{count} of .*b.* would have the same ids .*; nothing was stored; add --prefix"):
            sources_of(paths, SPEC)
    assert [source.ids for source in sources_of(folders, SPEC, prefix=True)] == [["a/1.png"], ["b/1.png"]]
    ids = [id for source in sources_of([*files, *single], SPEC, prefix=True) for id in source.ids]
    assert ids == ["a/x/000000", "a/x/000001", "b/x/000000", "b/x/000001", "a/1.png", "b/1.png"]
    with pytest.raises(LoadError, match="a is given twice"):
        sources_of([folders[0], folders[0]], SPEC, prefix=True)


@pytest.mark.parametrize(("one", "other"), [(b"a\nb.png", b"a\\nb.png"), (b"caf\xe9.png", b"caf\\xe9.png")])
@pytest.mark.parametrize("single", [False, True])
def test_names_that_only_look_alike_are_told_apart(tmp_path: Path, one: bytes, other: bytes, single: bool) -> None:
    paths = []
    for i, name in enumerate((one, other)):
        paths.append(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
        write(tmp_path / f"{i}.png").rename(paths[-1])
    with pytest.raises(LoadError) as caught:
        sources_of(paths if single else [tmp_path], SPEC)
    first, second = sorted(repr(path.name) for path in paths)
    said = str(caught.value)
    assert f"{tmp_path}: the pictures with the names " in said
    assert f" {first} " in said
    assert f" {second} " in said
    assert f"would both have the id {other.decode()!r}" in said
    assert said.isprintable()


def test_an_archive_of_pictures_is_to_be_unpacked(tmp_path: Path) -> None:
    write_all(tmp_path, "a.png")
    with ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    with pytest.raises(LoadError, match="an archive of picture files; unpack it, and give its folder instead"):
        sources_of([tmp_path / "x.zip"], SPEC)


def test_single_pictures_are_one_source(tmp_path: Path) -> None:
    write_all(tmp_path, "1.png", "2.png")
    sources = sources_of([tmp_path / "1.png", tmp_path / "2.png"], SPEC)
    assert [source.ids for source in sources] == [["1.png", "2.png"]]
    assert sources[0].summary[0] == "2 single pictures"


@pytest.mark.parametrize("name", ["nowhere", "nowhere.png", "nowhere.npz"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(LoadError, match=f"{name}: no such file or folder"):
        sources_of([tmp_path / name], SPEC)
