"""A process of its own whose saves fail, one call after the other: run by `test_save_faults`, with the library preloaded.

Arguments: `saves` or `training`, a directory, an errno, the first call that fails and how many from one to the next. Prints a
line of JSON for every call that failed.
"""

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from models.checkpoint import CheckpointError, read, save
from models.files.atomic_file import remove_leftovers
from models.files.tensor_file import TensorFileError, read_header
from models.mosaic import write_png
from models.sidecar import read_companion, write_companion
from models.train.__main__ import main
from models.train.resume import STATE, MetricsLog, Progress, ResumeError, RunState, log_entries
from models.vae import VAE, VAEConfig
from tests.fault_injection import Faults

# more than any of these has
MOST_CALLS = 1000
FLAGS = ["--arch", "mlp", "--hidden", "8", "--latent-dim", "2", "--batch-size", "32", "--epochs", "2", "--device", "cpu"]


def vae(seed: int, hidden: int) -> VAE:
    torch.manual_seed(seed)
    return VAE(VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [hidden]}))


def state(directory: Path, step: int) -> None:
    torch.manual_seed(step)
    module = nn.Linear(3, 3)
    RunState(directory, module, torch.optim.Adam(module.parameters()), torch.Generator()).save(Progress(step), {})


def log(directory: Path, step: int) -> None:
    """Step 1 begins a log, step 2 is a resumed run that cuts off what lies behind it and adds an entry."""
    lines = MetricsLog(directory / "metrics.jsonl", step - 1)
    lines.write({"step": step})
    if step == 1:
        lines.write({"step": 5})


def steps_of(directory: Path) -> str:
    """As numbers of saves: of a log, what a resumed run would keep."""
    steps = {entry["step"] for entry in log_entries(directory / "metrics.jsonl")}
    return "new" if steps == {1, 2} else "old" if 1 in steps else "broken"


def step_of(directory: Path) -> str:
    progress = json.loads(read_header(directory / STATE).metadata["progress"])
    return ("old", "new")[progress["step"] - 1]


def companion_of(directory: Path) -> str:
    digest = read_header(directory / "prior.safetensors").metadata["digest"]
    stale = CheckpointError("stale")
    companion = read_companion(directory / "prior.safetensors", digest, stale, lambda _: None)
    return "broken" if companion is None else ("old", "new")[int(digest) - 1]


def picture_of(directory: Path) -> str:
    with Image.open(directory / "picture.png") as image:
        return ("old", "new")[int(np.asarray(image)[0, 0]) - 1]


def checkpoint_of(seed: int, hidden: Callable[[int], int]) -> Callable[[Path], str]:
    def found(directory: Path) -> str:
        weights = read(directory).vae.state_dict()
        for name, number in (("old", 1), ("new", 2)):
            expected = vae(number, hidden(number)).state_dict()
            if all(
                weights[key].shape == tensor.shape and torch.equal(weights[key], tensor) for key, tensor in expected.items()
            ):
                return name
        return "broken"

    return found


# name -> what saves for the first or the second time into a directory, and what it then holds
SAVES: dict[str, tuple[Callable[[Path, int], object], Callable[[Path], str]]] = {
    "checkpoint": (lambda directory, n: save(directory, vae(n, 4)), checkpoint_of(0, lambda _: 4)),
    "checkpoint of another model": (lambda directory, n: save(directory, vae(n, 3 + n)), checkpoint_of(0, lambda n: 3 + n)),
    "state": (state, step_of),
    "log": (log, steps_of),
    "companion": (
        lambda directory, n: write_companion(directory / "prior.safetensors", {"x": torch.ones(n)}, str(n)),
        companion_of,
    ),
    "picture": (lambda directory, n: write_png(directory / "picture.png", Image.new("L", (9, 9), n)), picture_of),
}


def visible(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def saves(root: Path, error: int, first: int, stride: int) -> Iterator[dict[str, object]]:
    """Each kind of save over an earlier one, with one call failing."""
    faults = Faults()
    for kind, (write, found) in SAVES.items():
        before, directory = root / f"{kind} before", root / kind
        before.mkdir()
        write(before, 1)
        for number in range(first, MOST_CALLS, stride):
            shutil.rmtree(directory, ignore_errors=True)
            shutil.copytree(before, directory)
            faults.arm(directory, number, error)
            told = None
            try:
                write(directory, 2)
            except OSError as caught:
                told = str(caught)
            failed = faults.disarm()
            if not failed:
                break
            try:
                holds = found(directory)
            except (CheckpointError, ResumeError, TensorFileError, OSError) as caught:
                holds = f"broken: {caught}"
            remove_leftovers(directory)
            left = sorted(set(visible(directory)) - set(visible(before)))
            yield {"kind": kind, "failed": failed, "told": told, "holds": holds, "left": left}


def training(root: Path, error: int, first: int, stride: int) -> Iterator[dict[str, object]]:
    """A whole training with one call failing, and the same resumed: does it end as one that nothing disturbed?"""
    faults = Faults()
    digits = np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8)
    np.savez(root / "digits.npz", images=digits)

    def train(out: Path, *more: str) -> tuple[int, str]:
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            return main(["--data", f"npz:{root / 'digits.npz'}", *FLAGS, "--out", str(out), *more]), told.getvalue()

    assert train(root / "undisturbed")[0] == 0
    wanted, files = read(root / "undisturbed").digest, visible(root / "undisturbed")
    for number in range(first, MOST_CALLS, stride):
        out = root / f"out-{number}"
        faults.arm(out, number, error)
        status, told = train(out)
        failed = faults.disarm()
        if not failed:
            break
        again, told_again = train(out, "--resume")
        if again and "there is no run to continue" in told_again:  # It failed before it had saved its first state.
            again, told_again = train(out)
        holds = "new" if not again and read(out).digest == wanted else f"broken: {told_again}"
        left = sorted(set(visible(out)) ^ set(files))
        yield {"failed": failed, "status": status, "told": told, "holds": holds, "left": left}


if __name__ == "__main__":
    kind, directory, numbers = sys.argv[1], Path(sys.argv[2]), [int(word) for word in sys.argv[3:]]
    torch.set_num_threads(1)
    os.chdir(directory)
    for line in {"saves": saves, "training": training}[kind](directory, *numbers):
        sys.stdout.write(json.dumps(line) + "\n")
