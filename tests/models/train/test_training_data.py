"""A run that is resumed: on the data that it was started with, with the arguments that it was started with, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from models.checkpoint import CONFIG, WEIGHTS, read
from models.data import Items, Splits
from models.evaluate.__main__ import main as evaluate
from models.train import training_data
from models.train.__main__ import main
from models.train.resume import STATE

FLAGS = ["--arch", "mlp", "--hidden", "4", "--latent-dim", "2", "--batch-size", "16", "--device", "cpu"]
X = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has ended; its data are x.npz beside it."""
    np.savez(tmp_path / "x.npz", images=X)
    assert main(["--data", f"npz:{tmp_path / 'x.npz'}", "--out", str(tmp_path / "out"), "--epochs", "2", *FLAGS]) == 0
    return tmp_path / "out"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What is said of a run that cannot go on. It is as it was before."""

    def said(out: Path, *more: str) -> str:
        before = contents(out)
        assert main(["--out", str(out), "--resume", *more]) == 1
        assert contents(out) == before
        return capsys.readouterr().err

    return said


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (255 - X, "x.npz now has 54 training pictures of 1 x 8 x 8"),
        (X[:40], "x.npz now has 36 training pictures of 1 x 8 x 8"),
        (np.concatenate([X, X]), "x.npz now has 108 training pictures of 1 x 8 x 8"),
        (X.reshape(60, 4, 16), "x.npz now has 54 training pictures of 1 x 4 x 16"),
        (np.stack([X, X, 255 - X], 3), "x.npz now has 54 training pictures of 3 x 8 x 8"),
        (X[::-1], "x.npz now has 54 training pictures of 1 x 8 x 8"),
    ],
    ids=["values", "fewer", "more", "size", "colours", "order"],
)
def test_data_that_have_changed(run: Path, refused: Callable[..., str], images: np.ndarray, found: str) -> None:
    np.savez(run.parent / "x.npz", images=images)
    said = refused(run)
    assert f"the data of the run in {run} have changed: it was started with 54 training pictures of 1 x 8 x 8" in said
    assert found in said
    assert "restore the old data" in said
    np.savez(run.parent / "x.npz", images=X)
    assert main(["--out", str(run), "--resume"]) == 0


@pytest.fixture
def split_run(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A run on x.npz with all three splits and labels, and these arrays."""
    arrays: dict[str, Any] = {f"x_{name}": X[i::3] for i, name in enumerate(("train", "val", "test"))}
    arrays |= {f"y_{name}": np.arange(20) % 2 for name in ("train", "val", "test")}
    np.savez(tmp_path / "x.npz", **arrays)
    assert main(["--data", f"npz:{tmp_path / 'x.npz'}", "--out", str(tmp_path / "out"), "--epochs", "2", *FLAGS]) == 0
    return tmp_path / "out", arrays


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_val": 255 - X[1::3]}, "its validation pictures are"),
        ({"x_test": X[:20]}, "its test pictures are"),
        ({"y_train": np.arange(20) % 4}, "its training labels are"),
        ({"x_test": X[:5], "y_test": np.arange(5)}, "its test pictures, test labels are"),
    ],
)
def test_other_splits_and_labels_that_have_changed(
    split_run: tuple[Path, dict[str, Any]], refused: Callable[..., str], changed: dict[str, Any], said: str
) -> None:
    out, arrays = split_run
    np.savez(out.parent / "x.npz", **{**arrays, **changed})
    assert f"have changed: {said} not those that it was started with" in refused(out)


def test_data_that_are_gone(run: Path, refused: Callable[..., str]) -> None:
    (run.parent / "x.npz").unlink()
    said = refused(run)
    assert "x.npz: no such file" in said
    assert "restore the data" in said


def test_an_evaluation_on_data_that_have_changed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [str(run), "--samples", "1", "--limit", "2"]
    assert evaluate(few) == 0
    before = contents(run)
    np.savez(run.parent / "x.npz", images=255 - X)
    assert evaluate(few) == 1
    assert "is not what the model was trained on" in capsys.readouterr().err
    assert contents(run) == before
    assert evaluate([*few, "--data", f"npz:{run.parent / 'x.npz'}"]) == 0


def test_a_folder_with_one_picture_more(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(X[i]).save(folder / f"{i:02d}.png")
    assert main(["--data", f"folder:{folder}", "--out", str(out), "--epochs", "1", *FLAGS]) == 0
    Image.fromarray(X[20]).save(folder / "20.png")
    assert "have changed" in refused(out)


def test_a_run_does_not_write_into_the_folder_that_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(20):
        Image.fromarray(X[i]).save(tmp_path / f"{i:02d}.png")
    assert main(["--data", f"folder:{tmp_path}", "--out", str(tmp_path / "runs" / "out"), "--epochs", "1", *FLAGS]) == 1
    assert "that is read, so the next reading would take the pictures of the run for data" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "out").exists()


def test_a_state_that_does_not_say_what_its_data_were(run: Path, refused: Callable[..., str]) -> None:
    """Of an earlier version: its checkpoint has the digest of the training pictures."""
    path = run / "run" / STATE
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    del metadata["data"]
    path.write_bytes(safetensors.torch.save(safetensors.torch.load(content), metadata))
    np.savez(run.parent / "x.npz", images=X, labels=np.arange(60))
    assert main(["--out", str(run), "--resume"]) == 0
    np.savez(run.parent / "x.npz", images=255 - X)
    assert "have changed: it was started with pictures with the SHA-256" in refused(run)


@pytest.mark.parametrize("data", ["[]", "3", '"text"', "{", '{"digest": 3}', '{"digest": "0", "pictures": 1}'])
def test_a_state_that_says_something_strange_of_its_data(run: Path, refused: Callable[..., str], data: str) -> None:
    path = run / "run" / STATE
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    path.write_bytes(safetensors.torch.save(safetensors.torch.load(content), {**metadata, "data": data}))
    if data != "[]":
        assert STATE in refused(run)


def test_resuming_and_starting_anew_contradict_each_other(run: Path, refused: Callable[..., str]) -> None:
    assert "choose one" in refused(run, "--overwrite")


def arguments_without(run: Path, **changes: object) -> None:
    path = run / "run" / STATE
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    arguments = json.loads(metadata["arguments"])
    for name, value in changes.items():
        arguments.pop(name, None)
        if value is not None:
            arguments[name] = value
    path.write_bytes(safetensors.torch.save(safetensors.torch.load(content), {**metadata, "arguments": json.dumps(arguments)}))


def test_an_argument_that_the_run_did_not_know_yet(run: Path, refused: Callable[..., str]) -> None:
    arguments_without(run, samples=None)
    assert "--samples is 3, but the run" in refused(run, "--samples", "3")
    assert main(["--out", str(run), "--resume"]) == 0


def test_an_argument_that_is_not_known_any_more(run: Path, refused: Callable[..., str]) -> None:
    arguments_without(run, momentum=0.9)
    assert "momentum" in refused(run)


def test_a_run_that_was_stopped_before_its_first_checkpoint_goes_on(run: Path, tmp_path: Path) -> None:
    wanted = read(run).digest
    flags = ["--data", f"npz:{tmp_path / 'x.npz'}", "--out", str(tmp_path / "other"), "--epochs", "2", *FLAGS]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("models.train.run.Run.save_checkpoint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(flags)
    assert main(["--out", str(tmp_path / "other"), "--resume"]) == 0
    assert read(tmp_path / "other").digest == wanted


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_checkpoint_that_is_missing_is_written_again(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).unlink()
    assert main(["--out", str(run), "--resume"]) == 0
    said = capsys.readouterr().out
    assert f"the checkpoint in {run} was missing; it has the latest weights of the run now" in said
    assert "the weights are those of epoch 2, the latest when the run was resumed" in said
    assert read(run).manifest.data["kept"] == {"epoch": 2, "by": "state"}


def test_a_new_run_does_not_destroy_the_steps_of_a_stopped_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = ["--data", f"npz:{run.parent / 'x.npz'}", "--out", str(run), "--epochs", "2", *FLAGS]
    (run / CONFIG).unlink()
    before = contents(run)
    assert main(again) == 1
    assert "--resume continues it, --overwrite starts again" in capsys.readouterr().err
    assert contents(run) == before
    (run / "run" / STATE).write_bytes(b"broken")
    assert main(again) == 0


def test_a_data_set_by_name_cannot_be_given_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = Items(torch.from_numpy(X[:, None]))
    monkeypatch.setattr(training_data, "load_data", lambda *_: Splits(pictures, pictures))
    assert main(["--data", "mnist", "--validation-split", "group", "--out", str(tmp_path / "out"), *FLAGS]) == 1
    assert capsys.readouterr().err == "error: --validation-split group, but mnist has no groups: choose random or blocks\n"


def test_a_validation_group_that_is_larger_than_wanted_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", images=X, groups=np.arange(60) // 20)
    flags = ["--data", f"npz:{tmp_path / 'x.npz'}", "--validation-split", "group", "--epochs", "1", *FLAGS]
    assert main([*flags, "--out", str(tmp_path / "out")]) == 0
    line = "warning: validation has 20 of 60 pictures where 6 were wanted, because whole groups are held out"
    assert line in capsys.readouterr().out.splitlines()
    assert line in read(tmp_path / "out").manifest.data["summary"]


def test_the_validation_elbo_has_an_error_over_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", images=X)
    flags = ["--data", f"npz:{tmp_path / 'x.npz'}", "--validation-split", "blocks", "--epochs", "1", *FLAGS]
    assert main([*flags, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    found = read(tmp_path / "out").manifest.data["validation"]
    assert (found["pictures"], found["clusters"]) == (6, 5)
    line = (
        f"validation: the ELBO of 6 pictures is {found['elbo']:.2f} +- {found['standard_error']:.2f} (standard error over 5 "
    )
    assert f"{line}blocks)" in said
    assert evaluate([str(tmp_path / "out"), "--samples", "1"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["agreement"]
    assert (metrics["validation_clusters"], metrics["test_clusters"], metrics["held_out"]) == (5, 5, "blocks")
    assert main(["--out", str(tmp_path / "out"), "--resume"]) == 0


def test_an_error_over_one_group_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", images=X, groups=np.arange(60) // 20)
    flags = ["--data", f"npz:{tmp_path / 'x.npz'}", "--validation-split", "group", "--epochs", "1", *FLAGS]
    assert main([*flags, "--out", str(tmp_path / "out")]) == 0
    assert "(without a standard error, because it rests on 1 group)" in capsys.readouterr().out
    assert evaluate([str(tmp_path / "out"), "--samples", "1", "--report"]) == 0
    assert "rests on 1 group" in (tmp_path / "out" / "README.md").read_text()
