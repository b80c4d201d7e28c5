"""Presets: each is listed with its source, sets what flags can say, trains, and yields to flags that are given."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import read
from models.nets import build_net
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.flags import build_parser
from models.train.presets import PRESETS, listing
from models.train.run import Run

DRAWINGS = Path(__file__).parents[2] / "data" / "strokes.npz"


@pytest.fixture(scope="module")
def colors_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("colors") / "colors.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tunes") / "tunes.abc"
    path.write_text("".join(f"X:{i}\nM:4/4\nL:1/4\nK:G\n{'GABc|' * (8 + i % 3)}{'dcBA|' * 4}\n\n" for i in range(40)))
    return path


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--preset", "list"])
    assert exit_.value.code == 0
    told = capsys.readouterr().out
    assert told == listing()
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.what}\n" in told
        assert preset.source
        assert preset.note
    assert max(map(len, told.splitlines())) <= 120


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--preset", "keras2", "--out", "x"])
    assert exit_.value.code == 2
    assert "unknown preset 'keras2'; known: keras, " in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_flags_are_ones_and_can_be_typed(name: str) -> None:
    """What a preset sets is what its flags, written out as the list shows them, would have set."""
    words = []
    known = vars(build_parser().parse_args(["--out", "x"]))
    for flag, value in PRESETS[name].flags.items():
        assert flag in known
        if value is not None:
            text = ("x" if flag == "size" else ",").join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"--{flag.replace('_', '-')}", text]
    places = {"preset", "command", "given"}
    own = {"musicvae-small": "text:x", "table": "csv:x"}  # Those that name no data of their own.
    data = ["--data", own[name]] if name in own else []
    typed, preset = vars(parse([*words, *data, "--out", "x"])), vars(parse(["--preset", name, *data, "--out", "x"]))
    assert {k: v for k, v in typed.items() if k not in places} == {k: v for k, v in preset.items() if k not in places}


@pytest.mark.parametrize("name", PRESETS)
def test_each_trains_with_its_one_command(
    name: str, digits_npz: Path, colors_npz: Path, tunes: Path, penguins: Path, tmp_path: Path
) -> None:
    data = f"npz:{colors_npz if PRESETS[name].flags.get('channels') == 3 else digits_npz}"
    own = {"sketch-rnn": f"strokes:{DRAWINGS}", "musicvae-small": f"text:{tunes}", "table": f"csv:{penguins}"}
    data = own.get(name, data)
    short = ["--steps", "3", "--batch-size", "8", "--no-snapshots", "--device", "cpu"]
    short += ["--pseudo-inputs", "20"] if PRESETS[name].flags.get("prior") == "vamp" else []
    assert main(["--preset", name, "--data", data, *short, "--out", str(tmp_path)]) == 0
    manifest = read(tmp_path).manifest
    assert manifest.data["preset"] == name
    entry = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert entry["step"] == 3
    assert np.isfinite(entry["validation"]["elbo"])


def test_flags_win(digits_npz: Path, tmp_path: Path) -> None:
    argv = ["--beta", "1", "--preset", "beta-vae", "--latent-dim", "20", "--data", f"npz:{digits_npz}", "--out", str(tmp_path)]
    args = parse(argv)
    assert (args.beta, args.latent_dim, args.epochs) == (1, 20, 50)


def test_nets_are_those_of_the_papers() -> None:
    def widths(name: str) -> list[tuple[int, int]]:
        flags = PRESETS[name].flags
        net = build_net(str(flags["arch"]), (1, 28, 28), int(flags["latent_dim"]), {"hidden": flags["hidden"]})
        return [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, torch.nn.Linear)]

    assert widths("keras") == [(784, 256), (256, 4), (2, 256), (256, 784)]
    assert widths("pytorch") == [(784, 400), (400, 40), (20, 400), (400, 784)]
    assert widths("elu-50") == [(784, 500), (500, 500), (500, 100), (50, 500), (500, 500), (500, 784)]
    assert widths("elu-2")[2:4] == [(500, 4), (2, 500)]
    assert widths("burda-vae") == [(784, 200), (200, 200), (200, 100), (50, 200), (200, 200), (200, 784)]
    assert widths("gated") == [(784, 600), (300, 600), (300, 80), (40, 600), (300, 600), (300, 784)]


def test_keras_is_the_loss_of_the_notebook(digits_npz: Path, tmp_path: Path) -> None:
    """Squared error + mean over dimensions of the KL terms differs from our loss by a constant."""
    run = Run(parse(["--preset", "keras", "--data", f"npz:{digits_npz}", "--batch-size", "50", "--out", str(tmp_path)]))
    offsets = []
    for x in list(run.batches(0, 0))[:3]:
        eps = torch.randn(1, len(x), 2)
        mu, logvar = run.vae.net.encode(x)
        decoded = torch.sigmoid(run.vae.net.decode(mu + torch.exp(logvar / 2) * eps[0]))
        mse = ((x - decoded) ** 2).flatten(1).mean(1) * 784
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).mean(1)
        offsets.append((run.objective(run.vae, x, eps).value - (mse + kl).mean()).item())
        run.step(x, 0)
    assert offsets == pytest.approx([784 * 0.5 * np.log(2 * np.pi * 0.5)] * 3, abs=1e-2)
