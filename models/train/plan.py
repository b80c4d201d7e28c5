"""What a run says before it starts and after it ends: the plan, which weights were kept, and the commands that come next.

Knows nothing of the training loop.
"""

import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.distributions import gaussian_constant
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.program import command
from models.readers.left_out import plural
from models.train.choices import LABELS
from models.train.continuing import told
from models.train.losses import KEPT
from models.train.perceptual import CLASSIFIER
from models.train.run import Run

MOST_SHOWN = 12  # entries of a list


def plan(run: Run, done: int) -> list[str]:
    """Return the plan of a run with `done` steps: data, net, likelihood, length, device, and reasons."""
    args, config = run.args, run.vae.config
    reasons: dict[str, str] = args.choices
    test = f", {run.loaded.test_count} for the test" if run.loaded.test_count else ""
    options = ", ".join(f"{name} {_short(value)}" for name, value in config.arch_options.items())
    sigma = f" (sigma {args.sigma})" if config.likelihood == "gaussian" else ""
    if config.likelihood == "gaussian" and not isinstance(args.sigma, str):
        constant = gaussian_constant(args.sigma, math.prod(config.shape))
        sigma += f"; {constant:.1f} nats of each loss are the constant {math.prod(config.shape)}/2 ln(2 pi sigma^2)"
    length = f"{plural(run.steps, 'step')} ({_epochs(run, run.steps)} of {plural(run.steps_per_epoch, 'step')})"
    why = f"; {reasons['length']}" if "length" in reasons else ""
    batch = f"; {reasons['batch size']}" if "batch size" in reasons else ""
    batch += f"; all there are, fewer than --batch-size {args.batch_size}" if args.batch_size > run.batch_size else ""
    weights = sum(parameter.numel() for parameter in run.vae.parameters())
    lines = [
        f"{run.kind.many}: {len(run.items)} to train on, {len(run.validation)} for validation{test}, "
        f"{run.training.size(config.shape)}",
        f"net: {config.arch} ({options}), {plural(config.latent_dim, 'latent dimension')}, {config.prior} prior, "
        f"{weights:,} weights",
        *(f"net: {reasons[name]}" for name in ("latent dimensions", *run.training.reasons) if name in reasons),
        *([f"prior: {reasons[LABELS]}"] if LABELS in reasons else []),
        f"likelihood: {reasons.get('likelihood', config.likelihood)}{sigma}{run.training.data_note(args)}",
        f"length: {length}, {run.count(run.batch_size)} a step{why}{batch}",
        f"device: {run.device}, {_threads(run)}{'bf16 where autocast allows' if run.bf16 else 'float32'}",
    ]
    if done:
        lines.append(f"done: {plural(done, 'step')} ({_epochs(run, done)}), {_epochs(run, run.steps - done)} left")
    if args.lengthened:
        lines.append(told(args))
    if args.validate_every > 1:
        lines.append(f"log: one line every {args.validate_every} epochs, after the validation")
    if args.objective != "elbo" or run.objective.remark():
        lines.append(f"objective: {args.objective}: {run.objective.remark() or run.aim}")
        lines += [f"classifier: {reasons[CLASSIFIER]}"] if CLASSIFIER in reasons else []
    if args.init_from:
        lines.append(f"weights: from {args.init_from}, digest {args.init_digest[:12]}")
    return ["plan", *(f"  {line}" for line in lines)]


def facts(run: Run) -> dict[str, str]:
    """Return facts about the run for the README in its directory."""
    weights = sum(parameter.numel() for parameter in run.vae.parameters())
    return {
        "data": f"{run.args.data}, {run.count(len(run.items))} to train on and "
                f"{len(run.validation)} for validation, SHA-256 of all: {run.data.digest}",
        **({run.kind.many: "; ".join(run.loaded.summary)} if run.loaded.summary else {}),
        "model": f"{run.vae.config.arch}, D = {run.vae.config.latent_dim}, {run.vae.config.likelihood} likelihood, "
                 f"{run.vae.config.prior} prior, {weights} weights",
        **run.args.choices,
        **({"weights": f"from {run.args.init_from}, digest {run.args.init_digest}"} if run.args.init_from else {}),
        "objective": f"{run.args.objective}: {run.objective.remark() or run.aim}",
        "steps": f"{plural(run.steps, 'step')} of {run.count(run.batch_size)}, "
                 f"{run.steps_per_epoch} in an epoch",
        "device": f"{run.device}, {'bf16 where autocast allows' if run.bf16 else 'float32'}",
    }  # fmt: skip


def kept(data: Mapping[str, Any], kind: Kind = KINDS["picture"]) -> str:
    """Say which weights a checkpoint has and why; `data` is that of its manifest. Earlier versions recorded nothing: ""."""
    record = data.get("kept")
    if not isinstance(record, dict) or str(record.get("by")) not in KEPT:
        return ""
    return f"the weights are those of epoch {record.get('epoch')}, {KEPT[record['by']].format(many=kind.many)}"


def _epochs(run: Run, steps: int) -> str:
    number = f"{steps / run.steps_per_epoch:,.2f}".rstrip("0").rstrip(".")
    return f"{number} epoch{'' if number == '1' else 's'}"


def _threads(run: Run) -> str:
    """Return the number of threads on the CPU, with advice if other programs keep its cores busy."""
    if run.device.type != "cpu":
        return ""
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows has no getloadavg.
    busy = f" (the machine has {cores} cores and a load of {load:.1f}: --threads 1 may be faster)"
    return f"{plural(threads, 'thread')}{busy if threads > 1 and threads + load > cores + 0.5 else ''}, "


def finished(run: Run, done: int) -> str:
    """Say that a resumed run has nothing left to do, and what makes it longer."""
    unit = "steps" if run.args.steps else "epochs"
    longer = f"--resume --{unit} N with N above {getattr(run.args, unit)} makes it longer"
    return f"the run is finished, after {plural(done, 'step')} ({_epochs(run, done)}); {longer}"


def resume_command(out: Path) -> str:
    """Return the command that continues a run."""
    return f"{command('models.train')} --out {shlex.quote(str(out))} --resume"


def next_steps(out: Path, data_dir: Path, default_data_dir: Path, pack: str | None = None) -> list[str]:
    """Return the two commands that come next: serve the model, and measure it."""
    directory = out.resolve()
    shown = out if len(out.parts) > 1 else directory
    data = "" if data_dir.resolve() == default_data_dir.resolve() else f" --data-dir {shlex.quote(str(data_dir))}"
    data += f" --pack {shlex.quote(pack)}" if pack else ""
    serve = f"{command('service')} --models-dir {shlex.quote(str(shown.parent))}"
    return [
        "next:",
        f"  {serve} --default-model {shlex.quote(directory.name)}    # then open http://localhost:8000/sample?n=16",
        f"  {command('models.evaluate')} {shlex.quote(str(out))}{data} --report",
    ]


def _short(value: Any) -> str:
    """Return an option of a net as text; of a long list, how many entries it has."""
    return f"of {len(value)} columns" if isinstance(value, list) and len(value) > MOST_SHOWN else str(value)
