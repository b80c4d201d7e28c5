"""Cards: every number with its protocol, and a command that really trains the same model."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import Manifest
from models.evaluate.card import card
from models.evaluate.commands import evaluate_command, train_command, train_commands
from models.metrics_file import finite
from models.preprocess import Preprocessing
from models.train.arguments import parse, recorded
from models.vae import VAEConfig

METRICS: dict[str, Any] = {
    "elbo": -90.125,
    "log_likelihood": -65.5,
    "kl": 24.625,
    "iwae_nll": 86.7649,
    "iwae_nll_standard_error": 0.2531,
    "ess_mean": 31.25,
    "active_units": 17,
    "kl_per_dim": [1.0] * 20,
    "knn_accuracy": 0.9712,
    "protocol": {
        "unit": "nats per picture",
        "pixels": "0/1, each drawn once",
        "split": "test, 100 pictures",
        "iwae_samples": 500,
        "seed": 7,
        "active_units": "variance above 0.01",
        "knn_accuracy": "majority of the 5 nearest",
    },
}


def manifest(shape: tuple[int, int, int] = (1, 28, 28), **data: Any) -> Manifest:
    return Manifest(VAEConfig(shape, 20, "mlp", {"hidden": [400]}), Preprocessing(*shape), {"name": "mnist", **data})


def test_every_number_and_its_protocol() -> None:
    text = card(Path("weights/mine"), manifest(), METRICS, ["samples.png"])
    assert text.startswith("---\n")
    assert "\n---\n\n# mine\n" in text
    for words in (
        "86.76 +- 0.25", "-90.12", "-65.50", "24.6", "31.2 of 500", "17 of 20", "97.12 %",
        "Nats per picture", "0/1, each drawn once", "test, 100 pictures", "variance above 0.01", "majority of the 5 nearest",
        "LeCun", "28 x 28", "grey", "](samples.png)", "python -m models.evaluate weights/mine --samples 500 --seed 7",
    ):  # fmt: skip
        assert words in text, words


def test_what_it_is_and_what_was_minimised() -> None:
    config = VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}, "gaussian", {"sigma": 0.5**0.5}, "vamp", {"pseudo_inputs": 9})
    training = {"objective": "elbo", "beta": 0.5}
    text = card(
        Path("mine"), Manifest(config, Preprocessing(1, 28, 28), {"preset": "keras", "training": training}), METRICS, []
    )
    assert "D = 2, gaussian likelihood (sigma 0.7071), vamp prior (pseudo_inputs 9); pictures" in text
    assert "Preset keras: dense 784-256-2, ReLU, squared error. Source: the VAE notebook" in text
    assert "Objective elbo: the effective beta is 0.5, not 1. The ELBO below is that at beta = 1." in text


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, ""),
        ({"objective": "elbo", "beta": 1.0}, ""),
        ({"objective": "iwae", "samples": 5}, "Objective iwae. "),
        ({"objective": "beta-tc", "beta": 6.0}, "Objective beta-tc: the weight of the total correlation is 6, not 1. "),
        ({"objective": "free-bits", "free_bits": 0.25}, "Objective free-bits: a KL of 0.25 nats per dimension is free. "),
        ({"objective": "autoencoder"}, "sigma was never trained"),
    ],
)
def test_objectives_are_named_unless_it_is_the_elbo(training: dict[str, Any], words: str) -> None:
    text = card(Path("mine"), manifest(training=training), METRICS, [])
    assert words in text
    assert ("Objective" in text) == bool(words)


def test_latents_that_are_all_active_are_too_few() -> None:
    assert "| active units | 17 of 20 |" in card(Path("mine"), manifest(), METRICS, [])
    full = card(Path("mine"), manifest(), METRICS | {"active_units": 20}, [])
    assert "| active units | 20 of 20: a larger D may give a better ELBO |" in full


def test_a_part_of_the_test_split() -> None:
    metrics = METRICS | {"protocol": METRICS["protocol"] | {"limit": 500}}
    assert "models.evaluate mine --samples 500 --seed 7 --limit 500\n" in card(Path("mine"), manifest(), metrics, [])


def test_colors_without_labels() -> None:
    metrics = {name: value for name, value in METRICS.items() if name != "knn_accuracy"}
    text = card(Path("mine"), manifest((3, 64, 48), name="folder:pictures"), metrics, [])
    assert "RGB" in text
    assert "64 x 48" in text
    assert "`folder:pictures`" in text
    assert "5-NN" not in text


def test_numbers_that_are_none_are_left_out_with_the_reason() -> None:
    """As the evaluation measures them, and as metrics.json records them."""
    measured = METRICS | {"factors": {"mig": float("nan"), "sap": 0.5}, "elbo": float("-inf")}
    protocol = METRICS["protocol"] | {"not_finite": {"factors.mig": "no labelled factor varies"}}
    for metrics in (measured | {"protocol": protocol}, finite(measured | {"protocol": protocol})):
        text = card(Path("mine"), manifest(), metrics, [])
        assert "| MIG |" not in text
        assert "| ELBO |" not in text
        assert "| SAP | 0.500 |" in text
        assert "Not shown, because there is no finite value: ELBO, MIG (factors.mig: no labelled factor varies" in text
        assert "nan" not in text.replace("finance", "")
    assert "Not shown" not in card(Path("mine"), manifest(), METRICS, [])


def test_an_autoencoder_of_diffusers_says_how_to_load_it() -> None:
    config = VAEConfig(
        (3, 8, 8), 256, "autoencoder_kl", {"block_out_channels": [8]}, "gaussian", {"sigma": 0.1, "link": "identity"}
    )
    own, theirs = (
        Manifest(config, Preprocessing(3, 8, 8, fit="exact"), {"name": "folder:x", **more})
        for more in ({}, {"layout": "diffusers"})
    )
    text = card(Path("weights/kl"), theirs, METRICS, [])
    assert 'vae = AutoencoderKL.from_pretrained("weights/kl")' in text
    assert "pip install 'vae-service[diffusers]'" in text
    assert "\nlibrary_name: diffusers\n" in text
    text = card(Path("runs/kl"), own, METRICS, [])
    assert "from_pretrained" not in text
    assert "pip install 'vae-service[diffusers]'" in text
    assert "\nlibrary_name: vae-service\n" in text
    assert "vae-service[diffusers]" not in card(Path("mine"), manifest(), METRICS, [])


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--data fashion-mnist --arch mlp --hidden 500,250 --latent-dim 5 --beta 4 --epochs 3 --seed 9",
        "--arch conv --hidden 64 --conv-channels 32,64 --activation silu --likelihood gaussian --sigma 0.1 --warmup 0.05",
        "--data folder:pictures --size 64x48 --channels 3 --fit crop --filter lanczos --max-corrupt 0.2",
        "--data 'folder:my pictures' --likelihood gaussian --sigma learned --binarize none --precision float32",
    ],
)
def test_the_command_trains_the_same_model(flags: str) -> None:
    training = recorded(parse([*shlex.split(flags), "--out", "first"]))
    command = shlex.split(train_command(Path("weights/second"), training))
    assert command[:3] == ["python", "-m", "models.train"]
    args = parse(command[3:])
    assert recorded(args) == training
    assert args.out == Path("weights/second")


def test_a_prior_that_training_has_fitted_is_not_fitted_again_by_the_command() -> None:
    prior = {"components": 5, "covariance": "full", "iwae_nll": 85.0, "iwae_nll_standard_error": 0.2, "gain": 1.7,
             "gain_standard_error": 0.1, "rate": 23.0, "ess_mean": 30.0}  # fmt: skip
    assert " --fit-prior" in evaluate_command(Path("mine"), METRICS | {"aggregate_prior": prior})
    by_training = prior | {"fitted_by": "models.train"}
    assert " --fit-prior" not in evaluate_command(Path("mine"), METRICS | {"aggregate_prior": by_training})


def test_choices_stand_in_the_card() -> None:
    text = card(Path("mine"), manifest(choices={"likelihood": "gaussian, because"}), METRICS, [])
    assert "Chosen by the pictures:\n\n- likelihood: gaussian, because\n" in text
    assert "Chosen by" not in card(Path("mine"), manifest(), METRICS, [])


def test_samples_stand_beside_real_pictures() -> None:
    likeness = {"frechet": 29.0963, "precision": 0.663, "recall": 0.8556}
    found = {
        "own_prior": likeness,
        "aggregate_prior": {"frechet": 2.4303, "precision": 0.8602, "recall": 0.8366},
        "real": {"frechet": 1.8567, "precision": 0.887, "recall": 0.8782},
        "classifier_accuracy": 0.9906,
        "confirmed": {"share": 0.9499, "by_label": {"0": 0.984, "cat": 0.9158}},
    }
    metrics = METRICS | {"sample_quality": found, "protocol": METRICS["protocol"] | {"sample_quality": "features of a net"}}
    text = card(Path("mine"), manifest(), metrics, [])
    for words in (
        "| samples of N(0, I): Fréchet distance; precision, recall | 29.10; 66.3 %, 85.6 % |",
        "| samples of the fitted prior: Fréchet distance; precision, recall | 2.43; 86.0 %, 83.7 % |",
        "| real against real, halves at random: Fréchet distance; precision, recall | 1.86; 88.7 %, 87.8 % |",
        "| samples of a label that the classifier confirms | 95.0 % (0 98.4 %, cat 91.6 %) |",
        "Samples: features of a net.",
    ):
        assert words in text, words


def test_with_free_bits_all_dimensions_are_active_whatever_their_number_is() -> None:
    full = {**METRICS, "active_units": 20}
    assert "| active units | 20 of 20: a larger D" in card(Path("mine"), manifest(), full, [])
    assert "| active units | 20 of 20 |" in card(Path("mine"), manifest(training={"objective": "free-bits"}), full, [])


def test_a_checkpoint_of_diffusers_is_written_from_a_run() -> None:
    data = {"layout": "diffusers", "training": {"data": "lpc-sprites", "arch": "autoencoder_kl"}}
    train, export = train_commands(Path("models/weights/kl"), data)
    assert train == "python -m models.train --data lpc-sprites --arch autoencoder_kl --out runs/kl"
    assert export == "python -m models.train.to_diffusers runs/kl models/weights/kl"
