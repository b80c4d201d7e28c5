"""Presets of `python -m models.train`: VAEs from classic papers and tutorials, each with its source.

A preset only sets defaults; flags on the command line override them. Knows nothing of how flags are parsed or used.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One preset. `flags` maps names of the train command's flags, with underscores, to values."""

    what: str
    source: str
    note: str
    flags: Mapping[str, Any]


# Settings that the tutorials share: constant learning rate, no warm-up, single precision.
_PLAIN = {"arch": "mlp", "schedule": "constant", "precision": "float32"}
_KERAS_SIGMA = 0.5**0.5
_ELU = {**_PLAIN, "hidden": [500, 500], "activation": "elu", "batch_size": 128, "steps": 20_000, "l2": 1e-5, "dropout": 0.1}
_BURDA = {
    **_PLAIN, "hidden": [200, 200], "activation": "tanh", "latent_dim": 50, "batch_size": 20, "epochs": 3280,
    "schedule": "staircase", "adam_eps": 1e-4, "binarize": "dynamic",
}  # fmt: skip
_BURDA_NOTE = (
    "Dynamic binarisation, Adam with epsilon 1e-4, 3^i epochs at 0.001 x 10^(-i/7) for i = 0..7, in all 3,280; --epochs N "
    "shortens all stages in proportion. The output biases start at 0, not at the log odds of the data."
)
_TOMCZAK = {
    "arch": "gated", "hidden": [300, 300], "latent_dim": 40, "batch_size": 100, "lr": 5e-4, "schedule": "constant",
    "epochs": 2000, "warmup": 0.05, "patience": 50, "binarize": "dynamic",
}  # fmt: skip
_TOMCZAK_NOTE = "Warm-up over 100 of at most 2,000 epochs; stops after 50 epochs without a better validation ELBO. "
_TRIPTYCH = {**_ELU, "latent_dim": 2, "dropout": 0.0, "l2": 0.0, "steps": None, "epochs": 20, "binarize": "none"}
_TRIPTYCH_SOURCE = "Irhum Shafkat: Intuitively Understanding Variational Autoencoders, 2018; Jeremy Jordan: VAEs, 2018"

PRESETS: Mapping[str, Preset] = {
    "keras": Preset(
        "dense 784-256-2, ReLU, squared error",
        "the VAE notebook of many Keras courses: MNIST, Adam, 30 epochs, batches of 128, loss = mse * 784 + kl",
        "That code averages the KL over the batch and over the 2 dimensions, where the ELBO sums over dimensions. Its loss, "
        "squared error + KL/2, is exactly that of a Gaussian likelihood with sigma^2 = 1/2 and beta = 1/2 (the same optimum "
        "as beta = 1 with sigma^2 = 1/4), and this preset trains exactly that. Of the loss, 448.7 nats are the constant 784/2 "
        "ln(2 pi sigma^2) of the Gaussian, which the notebook leaves out: less it, the loss is the notebook's.",
        {**_PLAIN, "hidden": [256], "latent_dim": 2, "activation": "relu", "likelihood": "gaussian", "sigma": _KERAS_SIGMA,
         "beta": 0.5, "batch_size": 128, "epochs": 30, "lr": 1e-3},
    ),
    "elu-50": Preset(
        "dense 784-500-500-50, ELU, dropout, L2",
        "Miriam Shiffman: Under the Hood of the Variational Autoencoder, Fast Forward Labs 2016",
        "Batches of 128, keep probability 0.9 (--dropout 0.1), L2 1e-5 on the weights, 20,000 steps at 1e-3. Dropout applies "
        "to hidden units, as the article says; its code masks weights instead.",
        {**_ELU, "latent_dim": 50, "binarize": "none"},
    ),
    "elu-2": Preset(
        "dense 784-500-500-2, ELU: its two-dimensional twin",
        "the same article: the plane over percentiles of the prior",
        "As elu-50, with D = 2.",
        {**_ELU, "latent_dim": 2, "binarize": "none"},
    ),
    "pytorch": Preset(
        "dense 784-400-20, ReLU",
        "github.com/pytorch/examples, vae/main.py",
        "Cross-entropy on grey pixels, summed, with beta = 1: 10 epochs in batches of 128 at 1e-3.",
        {**_PLAIN, "hidden": [400], "latent_dim": 20, "activation": "relu", "batch_size": 128, "epochs": 10,
         "binarize": "none"},
    ),
    "burda-vae": Preset(
        "dense 784-200-200-50, tanh",
        "Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519, table 1: the VAE with one sample, 86.76 nats",
        _BURDA_NOTE,
        _BURDA,
    ),
    "burda-iwae-5": Preset(
        "the same net, importance-weighted with K = 5",
        "the same table: 85.54 nats",
        _BURDA_NOTE,
        {**_BURDA, "objective": "iwae", "samples": 5},
    ),
    "burda-iwae-50": Preset(
        "the same net, importance-weighted with K = 50",
        "the same table: 84.78 nats",
        _BURDA_NOTE,
        {**_BURDA, "objective": "iwae", "samples": 50},
    ),
    "gated": Preset(
        "gated MLP 2 x 300, D = 40",
        "Tomczak & Welling 2018, arXiv:1705.07120; 84.45 nats in Norouzi et al. 2020, arXiv:2004.04795",
        _TOMCZAK_NOTE,
        _TOMCZAK,
    ),
    "gated-vamp": Preset(
        "the same net with a VampPrior of 500 pseudo-inputs",
        "the same; 82.43 nats in Norouzi et al. 2020",
        _TOMCZAK_NOTE + "The pseudo-inputs start from training pictures.",
        {**_TOMCZAK, "prior": "vamp", "pseudo_inputs": 500},
    ),
    "conv": Preset(
        "convolutions (32, 64; 192), D = 20",
        "this project: the net of the shipped mnist; compare 88.90 nats of a dense net with D = 20 in "
        "Davidson et al. 2018, arXiv:1804.00891",
        "Averaged weights, a short warm-up and a cosine.",
        {"arch": "conv", "latent_dim": 20, "hidden": [192], "conv_channels": [32, 64], "epochs": 300, "warmup": 0.03,
         "validation": 0.02, "ema": 0.999},
    ),
    "residual": Preset(
        "residual convolutions (32, 64; 256), D = 40",
        "this project, with blocks of He et al. 2016, arXiv:1603.05027; compare 84.45 nats of a gated dense "
        "net with D = 40 in Norouzi et al. 2020, arXiv:2004.04795",
        "Averaged weights, a short warm-up and a cosine.",
        {"arch": "residual", "latent_dim": 40, "hidden": [256], "conv_channels": [32, 64], "blocks": 1, "epochs": 150,
         "warmup": 0.03, "validation": 0.02, "ema": 0.999},
    ),
    "beta-vae": Preset(
        "convolutions, D = 10, beta = 4",
        "Higgins et al. 2017, beta-VAE (ICLR); D = 10 as in Burgess et al. 2018, arXiv:1804.03599",
        "The weight of the KL is 4. The ELBO is still reported at beta = 1.",
        {"arch": "conv", "latent_dim": 10, "beta": 4.0, "epochs": 50},
    ),
    "beta-tc": Preset(
        "convolutions, D = 10, the total correlation counted 6 times",
        "Chen et al. 2018, arXiv:1802.04942",
        "Minibatch-weighted sampling; add --stratified yes for the unbiased estimate.",
        {"arch": "conv", "latent_dim": 10, "objective": "beta-tc", "beta": 6.0, "epochs": 50},
    ),
    "triptych-autoencoder": Preset(
        "reconstruction alone: a deterministic autoencoder, D = 2",
        _TRIPTYCH_SOURCE,
        "Classes lie apart, with gaps between them and no prior to draw from.",
        {**_TRIPTYCH, "objective": "autoencoder"},
    ),
    "triptych-kl": Preset(
        "the KL alone, D = 2",
        _TRIPTYCH_SOURCE,
        "Every posterior becomes the prior: one round cloud without classes.",
        {**_TRIPTYCH, "objective": "kl-only"},
    ),
    "triptych-vae": Preset(
        "both terms, D = 2",
        _TRIPTYCH_SOURCE,
        "Classes lie apart, and together they fill the prior.",
        _TRIPTYCH,
    ),
    "color-64": Preset(
        "convolutions (32, 64, 128, 256; 256), D = 32, 64 x 64 colours",
        "this project; pictures in the manner of the face VAEs of the tutorials, here sprites of Li & Mandt 2018",
        "A Gaussian likelihood with the optimal sigma (Rybkin et al. 2021, arXiv:2006.13202): the effective beta is 1. "
        "With --data folder:PATH it takes any pictures and crops them to 64 x 64. Drawings without noise, such as the "
        "sprites, get a small sigma, and posteriors that fill little of N(0, I): draw samples from the fitted prior, not from "
        "N(0, I). A larger --sigma makes samples of N(0, I) better and reconstructions worse, as a larger beta does.",
        {"data": "lpc-sprites", "size": [64, 64], "channels": 3, "arch": "conv", "latent_dim": 32, "hidden": [256],
         "conv_channels": [32, 64, 128, 256], "likelihood": "gaussian", "sigma": "optimal", "epochs": 100, "warmup": 0.05,
         "ema": 0.999},
    ),
    "sketch-rnn": Preset(
        "drawings: LSTM, 128 units in each direction, decoder of 256, 20 Gaussians, D = 32",
        "Ha & Eck 2017, arXiv:1704.03477, with half of the units of their published code",
        "With --data strokes:PATH it takes any drawings. The weight of the KL rises during half of the run, to 1 (theirs: at "
        "most a half); half a nat per dimension is free. A fifth of the inputs is hidden; they drop units of cells.",
        {"data": "omniglot-strokes", "arch": "lstm", "likelihood": "mixture", "hidden": [128, 256], "mixtures": 20,
         "latent_dim": 32, "batch_size": 64, "epochs": 16, "lr": 2e-3, "clip": 1.0, "warmup": 0.5,
         "objective": "free-bits", "free_bits": 0.5, "word_dropout": 0.2},
    ),
    "musicvae-small": Preset(
        "tunes: LSTM, 128 units in each direction, decoder of 384, D = 32, phrases of 8 bars",
        "Roberts et al. 2018, arXiv:1803.05428: z at the start and at each step, free bits; without its hierarchical decoder",
        "For --data text:PATH with tunes in ABC notation, character by character. Phrases of one tune stay in one split.",
        {"arch": "lstm", "likelihood": "categorical", "hidden": [128, 384], "latent_dim": 32, "batch_size": 32, "bars": 8,
         "epochs": 40, "lr": 2e-3, "clip": 1.0, "warmup": 0.5, "objective": "free-bits", "free_bits": 0.5,
         "word_dropout": 0.1, "validation_split": "group"},
    ),
    "table": Preset(
        "dense 128-128 for the columns of a table, D = half of the columns",
        "HI-VAE, Nazabal et al. 2020, arXiv:1807.03653, with one Gaussian, Bernoulli or categorical for each column",
        "For --data csv:PATH and parquet:PATH, which have these settings anyway. Each step hides up to half of a row's cells "
        "from the encoder, so that the net learns to fill missing cells.",
        {"arch": "table", "likelihood": "columns", "hidden": [128, 128], "drop_cells": 0.5},
    ),
}  # fmt: skip


def listing() -> str:
    """Return all presets as text: name, net, source, note and flags."""
    blocks = []
    for name, preset in PRESETS.items():
        flags = " ".join(f"--{flag.replace('_', '-')} {_text(flag, value)}" for flag, value in preset.flags.items() if value)
        paragraphs = [f"{name}: {preset.what}"]
        paragraphs += [textwrap.fill(text, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
                       for text in (f"Source: {preset.source}.", preset.note, flags) if text]  # fmt: skip
        blocks.append("\n".join(paragraphs))
    return "\n\n".join(blocks) + "\n"


def _text(flag: str, value: Any) -> str:
    if isinstance(value, list):
        return ("x" if flag == "size" else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
