"""The plan before a run, and the commands after it."""

from pathlib import Path

import pytest
import torch

from models.program import interpreter
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.plan import next_steps, plan
from models.train.run import Run

SMALL = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "3", "--steps", "6", "--device", "cpu"]


def test_a_run_says_what_it_will_do_and_what_comes_next(
    digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    threads = torch.get_num_threads()
    try:
        assert main(["--data", f"npz:{digits_npz}", *SMALL, "--beta", "2", "--threads", "1", "--out", str(out)]) == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    told = capsys.readouterr().out
    assert "\nplan\n  pictures: 219 to train on, 12 for validation, 25 for the test, 28 x 28 pixels, grey\n" in told
    for words in (
        "net: mlp (hidden [16], dropout 0.0, activation relu), 3 latent dimensions",
        "26,",  # weights
        "likelihood: bernoulli, because only ",
        "each value is redrawn as 0 or 1 at each step",
        "length: 6 steps (1 epoch of 6 steps), 32 pictures a step; small batches",
        "objective: elbo: the effective beta is 2, not 1",
        "device: cpu, 1 thread, float32",
        "\nnext:\n",
        f"  {interpreter()} -m service --models-dir {tmp_path} --default-model out ",
        f"  {interpreter()} -m models.evaluate {out} --report",
    ):
        assert words in told, words
    assert parse(["--out", str(out), "--resume"]).threads == 1
    chosen = "likelihood: bernoulli, because only"
    assert chosen in (out / "run" / "README.md").read_text()


def test_commands_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = interpreter()
    _, serve, measure = next_steps(Path("runs/my faces"), Path("/d"), Path("data"))
    assert serve.split("    #")[0] == f"  {python} -m service --models-dir runs --default-model 'my faces'"
    assert measure == f"  {python} -m models.evaluate 'runs/my faces' --data-dir /d --report"
    monkeypatch.chdir(tmp_path)
    python = interpreter()
    _, serve, measure = next_steps(Path("mine"), Path("data"), tmp_path / "data")
    assert serve.split("    #")[0] == f"  {python} -m service --models-dir {tmp_path} --default-model mine"
    assert measure == f"  {python} -m models.evaluate mine --report"


def test_the_python_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    assert interpreter() == f"{tmp_path}/.venv/bin/python"
    monkeypatch.chdir(tmp_path)
    assert interpreter() == ".venv/bin/python"


def test_a_busy_machine_gets_advice(digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(parse(["--data", f"npz:{digits_npz}", *SMALL, "--batch-size", "999", "--out", str(tmp_path)]))
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    advice = "(the machine has 4 cores and a load of 3.0: --threads 1 may be faster)"
    for load, shown in ((0.0, False), (3.0, True)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        lines = plan(run, 0)
        assert any(f"device: cpu, 4 threads {advice}, float32" in line for line in lines) == shown
    assert any("219 pictures a step; all there are, fewer than --batch-size 999" in line for line in lines)
