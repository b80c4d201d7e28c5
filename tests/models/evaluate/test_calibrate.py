"""python -m models.evaluate PATH --calibrate: what it compares with, what it chooses, what it says, and what it refuses."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.calibration import CALIBRATION, Calibration, read_calibration
from models.checkpoint import CONFIG, read, save
from models.data import Items, Splits, load_data, rows_of
from models.evaluate import unusual
from models.evaluate.__main__ import main
from models.evaluate.calibrate import choose_bandwidth, choose_default
from models.evaluate.held_out import given_split, held_out_split
from models.kinds import KINDS
from models.readers.download import DataError
from models.scores import SAMPLES, log_density
from models.train.__main__ import main as train
from models.vae import VAE, VAEConfig

TRAINING = {"validation": 0.1, "seed": 3, "validation_split": "random"}


@pytest.fixture(scope="module")
def trained(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "digits"
    small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--epochs", "2", "--batch-size", "32", "--lr", "0.01"]
    assert train(["--data", f"npz:{digits_npz}", "--device", "cpu", *small, "--validation", "0.2", "--out", str(out)]) == 0
    assert main([str(out), "--samples", "8", "--limit", "20", "--device", "cpu"]) == 0
    assert main([str(out), "--calibrate", "--device", "cpu"]) == 0
    return out


def calibration_of(path: Path) -> Calibration:
    checkpoint = read(path)
    found = read_calibration(path, checkpoint.digest, checkpoint.vae.config.latent_dim)
    assert found is not None
    return found


def test_it_compares_with_pictures_that_the_net_never_saw(trained: Path, digits_npz: Path) -> None:
    found, checkpoint, splits = calibration_of(trained), read(trained), load_data(f"npz:{digits_npz}", Path())
    rows, held_out = rows_of(splits.train, 0.2, 0)
    assert len(found.mu) == len(rows)
    assert len(found.smallest) == len(held_out)
    posterior = checkpoint.vae.encode(KINDS["picture"].to_x(splits.train.x[rows]))
    assert np.allclose(np.sort(found.mu, 0), np.sort(posterior.mu.numpy(), 0), rtol=1e-3, atol=1e-4)
    x = KINDS["picture"].to_x(splits.train.x[held_out])
    error = (checkpoint.vae.decode(checkpoint.vae.encode(x).mu).mean - x).square().flatten(1).sum(1)
    assert np.allclose(found.held_out["reconstruction"], np.sort(error.numpy()), rtol=1e-5)


def test_all_scores_are_there_and_recorded(trained: Path) -> None:
    found = calibration_of(trained)
    record = found.record
    assert set(found.held_out) == {
        "knn", "density", "reconstruction", "unexplained", "deviance", "elbo", "iwae", "regret",
    }  # fmt: skip
    assert (record["seed"], record["samples"], record["digest"]) == (0, SAMPLES, read(trained).digest)
    assert record["held_out"]["pictures"] == {name: len(values) for name, values in found.held_out.items()}
    assert record["default"]["scores"] == list(found.default)
    assert next(iter(record["default"]["mean_auroc"])) == " + ".join(found.default)
    assert set(record["auroc"]) == {"p_value", *found.held_out}
    assert len({tuple(each) for each in record["auroc"].values()}) == 1
    assert record["auroc"]["p_value"]["noise"] > 0.8
    assert 0 <= record["test"]["distance"] <= 1
    assert found.labels is not None
    assert set(found.label_names) >= {str(label) for label in range(10)}


def test_the_same_command_makes_the_same_file(trained: Path, tmp_path: Path) -> None:
    again = shutil.copytree(trained, tmp_path / "again")
    assert main([str(again), "--calibrate", "--device", "cpu"]) == 0
    assert (again / CALIBRATION).read_bytes() == (trained / CALIBRATION).read_bytes()
    assert read(again).digest == read(trained).digest


def test_card_and_report_have_the_table(trained: Path, tmp_path: Path, digits_npz: Path) -> None:
    pytest.importorskip("matplotlib")
    both = shutil.copytree(trained, tmp_path / "both")
    before = (both / "metrics.json").read_bytes()
    flags = ["--calibrate", "--strangers", f"npz:{digits_npz}", "--device", "cpu", "--recorded", "--report"]
    assert main([str(both), *flags]) == 0
    assert (both / "metrics.json").read_bytes() == before
    card, page, record = (
        (both / "README.md").read_text(),
        (both / "report" / "index.html").read_text(),
        calibration_of(both).record,
    )
    assert f"## {unusual.TITLE}\n" in card
    assert f"--calibrate --strangers npz:{digits_npz.stem}\n" in card
    assert "| strangers | `p_value` | `knn` | `density` |" in card
    assert str(digits_npz.parent) not in json.dumps(record)
    for kind, value in record["auroc"]["p_value"].items():
        assert f"| {kind} | {value:.3f} |" in card
        assert f"<th>{kind}</th><td>{value:.3f}</td>" in page
    assert (both / "report" / "strangers.png").exists()
    assert 0.3 < record["auroc"]["knn"][digits_npz.stem] < 0.9  # the model's own test pictures are no strangers


def test_it_says_how_coarse_few_pictures_are(trained: Path) -> None:
    lines = unusual.lines(calibration_of(trained))
    count = len(calibration_of(trained).smallest)
    assert lines[1].startswith(f"warning: these are few: p-values come in steps of {1 / (count + 1):.2g}")
    assert "no picture can have one of 0.05" in unusual.coarse(10, 1 / 11)
    assert "uncertain by 1.3 %" in unusual.coarse(300, 3 / 301)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fit-prior"], "leave out --fit-prior"),
        (["--limit", "9"], "leave out --fit-prior and --limit"),
        (["--data", "mnist"], "records what was held out: leave out --data"),
        (["--report"], "add --recorded"),
        (["--strangers", "npz:nowhere.npz"], "nowhere.npz"),
        (["--samples", "8"], "leave out --samples"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    trained: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(trained), "--calibrate", "--device", "cpu", *flags]) == 1
    assert words in capsys.readouterr().err


def test_strangers_are_only_for_calibrations(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(trained), "--device", "cpu", "--strangers", "mnist"]) == 1
    assert "--strangers is for the calibration: add --calibrate" in capsys.readouterr().err


def test_strangers_of_another_shape_are_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((trained / CONFIG).read_text())
    assert config["model"]["shape"] == [1, 28, 28]
    (tmp_path / "broken.npz").write_bytes(b"no array")
    assert main([str(trained), "--calibrate", "--device", "cpu", "--strangers", f"npz:{tmp_path / 'broken.npz'}"]) == 1
    assert "broken.npz" in capsys.readouterr().err


def test_a_calibration_of_other_weights_is_not_shown(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(trained, tmp_path / "other")
    config = json.loads((other / CONFIG).read_text())
    config["data"]["remark"] = "other weights have another digest"
    (other / CONFIG).write_text(json.dumps(config, indent=2))
    (other / "prior.safetensors").unlink(missing_ok=True)
    assert main([str(other), "--recorded"]) == 1
    assert "make it again: python -m models.evaluate" in capsys.readouterr().err
    assert main([str(other), "--calibrate", "--device", "cpu"]) == 0
    assert main([str(other), "--recorded"]) == 0


def test_a_model_that_was_trained_elsewhere_is_calibrated_on_data_that_the_user_gives(
    digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    save(tmp_path / "own", VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [16]})))
    flags = [str(tmp_path / "own"), "--calibrate", "--device", "cpu"]
    assert main(flags) == 1
    assert "the checkpoint does not name its data: add --data" in capsys.readouterr().err
    data = ["--data", f"npz:{digits_npz}"]
    assert main([*flags, *data]) == 0
    printed = capsys.readouterr().out
    assert f"50 % of the training pictures of npz:{digits_npz.stem} (random, seed 0); the checkpoint does not rec" in printed
    assert "warning: if the model was trained on these pictures, new pictures will look more unusual than they are" in printed
    found = calibration_of(tmp_path / "own")
    splits = load_data(data[1], Path())
    assert found.record["training_latents"]["of"] + len(found.smallest) == len(splits.train.x)
    assert found.record["data"] == f"npz:{digits_npz.stem}"
    assert found.record["test"]["distance"] < 2 * found.record["test"]["distance_by_chance"], "new pictures are as usual"
    assert str(digits_npz.parent) not in json.dumps(found.record)
    assert found.labels is not None
    assert main([str(tmp_path / "own"), *data, "--samples", "2", "--limit", "20", "--device", "cpu"]) == 0
    assert (
        f"models.evaluate {tmp_path / 'own'} --calibrate {data[0]} npz:{digits_npz.stem}"
        in (tmp_path / "own" / "README.md").read_text()
    )


def pictures(count: int) -> Items:
    return Items(torch.zeros(count, 1, 4, 4, dtype=torch.uint8))


class TestHeldOut:
    def test_a_split_of_the_data_set_itself(self) -> None:
        splits = Splits(pictures(5), pictures(3), pictures(2))
        training, held_out, how = held_out_split({}, splits)
        assert (len(training), len(held_out)) == (5, 2)
        assert "of the data set's own" in how

    def test_without_a_record_there_is_none(self) -> None:
        with pytest.raises(DataError, match="does not record which pictures were held out"):
            held_out_split({"name": "mnist"}, Splits(pictures(5), pictures(3)))

    def test_those_that_the_user_gives(self) -> None:
        """Half of the training pictures, or the validation split; and the two halves have nothing in common."""
        x = torch.arange(10, dtype=torch.uint8).repeat_interleave(16).view(10, 1, 4, 4)
        references, held_out, how = given_split("npz:x", Splits(Items(x), pictures(3)))
        assert sorted([*references.x[:, 0, 0, 0].tolist(), *held_out.x[:, 0, 0, 0].tolist()]) == list(range(10))
        assert len(held_out) == 5
        assert how.startswith("50 % of the training pictures of npz:x (random, seed 0); the checkpoint does not record")
        references, held_out, how = given_split("npz:x", Splits(pictures(5), pictures(3), pictures(2)))
        assert (len(references), len(held_out)) == (5, 2)
        assert how.startswith("the validation split of npz:x; ")
        with pytest.raises(DataError, match="both need some"):
            given_split("npz:x", Splits(pictures(1), pictures(3)))

    def test_stages_must_hold_out_the_same(self) -> None:
        first = {"name": "mnist", "training": {**TRAINING}}
        data: dict[str, Any] = {"name": "mnist", "training": TRAINING, "init_from": {"digest": "abc", "data": first}}
        splits = Splits(pictures(50), pictures(3))
        assert "10 % of the training pictures (random, seed 3), the same in all 2 stages" in held_out_split(data, splits)[2]
        for name, value in (("seed", 4), ("validation", 0.2), ("validation_split", "blocks")):
            changed = copy.deepcopy(data)
            changed["init_from"]["data"]["training"][name] = value
            with pytest.raises(DataError, match="no validation split is new to the net"):
                held_out_split(changed, splits)
            changed["init_from"]["data"]["name"] = "fashion-mnist"  # other pictures
            assert held_out_split(changed, splits)[2].endswith("2 stages of the training")

    def test_a_stage_without_a_record_is_told(self, trained: Path) -> None:
        data = {"name": "mnist", "training": TRAINING, "init_from": {"digest": "0123456789abcdef"}}
        how = held_out_split(data, Splits(pictures(50), pictures(3)))[2]
        assert how.endswith(
            "began with the weights 0123456789ab; the checkpoint does not record which pictures those had held out"
        )
        found = calibration_of(trained)
        record = {**found.record, "held_out": {**found.record["held_out"], "split": how}}
        told = unusual.lines(
            Calibration(found.mu, found.sigma, 1, found.default, found.held_out, found.smallest, record=record)
        )
        assert any(line.startswith("warning: if that stage was trained on these pictures") for line in told)


def test_the_bandwidth_is_the_best_of_those_tried() -> None:
    noise = np.random.default_rng(0)
    mu, sigma = noise.normal(size=(300, 3)).astype(np.float32), np.full((300, 3), 0.05, np.float32)
    new = noise.normal(size=(200, 3)).astype(np.float32)
    best, tried = choose_bandwidth(mu, sigma, new)
    nats = {float(h): log_density(new, mu, sigma, float(h)).mean() for h in tried}
    assert f"{best:.4f}" == f"{max(nats, key=lambda h: nats[h]):.4f}"
    collapsed = np.zeros((300, 3), np.float32)
    assert choose_bandwidth(collapsed, sigma, new)[0] == 1e-3


def test_the_default_has_a_score_of_latents_and_one_of_pixels() -> None:
    noise = np.random.default_rng(0)
    names = ("knn", "density", "reconstruction", "deviance", "unexplained")
    usual = {name: noise.normal(size=400) for name in names}
    far = {name: noise.normal(size=100) for name in names}
    far["knn"], flat = far["knn"] + 4, {name: noise.normal(size=100) for name in names}
    flat["unexplained"] = flat["unexplained"] + 4
    best, mean = choose_default(usual, {"far": far, "flat": flat})
    assert best == ("knn", "unexplained")
    assert list(mean.values()) == sorted(mean.values(), reverse=True)
    assert choose_default(usual, {"far": far})[0][0] == "knn"
    assert len(choose_default(usual, {"far": far})[0]) >= 2
    own, mean = choose_default(usual, {"far": far}, ("deviance",))
    assert own == ("deviance",)
    assert mean["deviance"] < mean["knn + deviance"], "what others would be worth is recorded all the same"
