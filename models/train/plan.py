"""What a run says before it starts and after it ends: the plan, and the commands that come next.

Knows nothing of the training loop.
"""

import shlex
from pathlib import Path

from models.program import command
from models.readers.left_out import plural
from models.train.choices import START
from models.train.run import Run


def plan(run: Run) -> list[str]:
    """Return the plan of a run: pictures, net, likelihood, length, objective and device, with the reasons of choices."""
    args, config = run.args, run.vae.config
    channels, height, width = config.shape
    reasons: dict[str, str] = args.choices
    test = f", {run.loaded.test_count} for the test" if run.loaded.test_count else ""
    options = ", ".join(f"{name} {value}" for name, value in config.arch_options.items())
    sigma = f" (sigma {args.sigma})" if config.likelihood == "gaussian" else ""
    epochs, each = f"{run.steps / run.steps_per_epoch:.3g}", plural(run.steps_per_epoch, "step")
    length = f"{plural(run.steps, 'step')} ({epochs} epoch{'' if epochs == '1' else 's'} of {each})"
    why = f"; {reasons['length']}" if "length" in reasons else ""
    batch = f"; {reasons['batch size']}" if "batch size" in reasons else ""
    weights = sum(parameter.numel() for parameter in run.vae.parameters())
    lines = [
        f"pictures: {len(run.pictures)} to train on, {len(run.validation)} for validation{test}, "
        f"{height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}",
        f"net: {config.arch} ({options}), {plural(config.latent_dim, 'latent dimension')}, {config.prior} prior, "
        f"{weights:,} weights",
        *(f"net: {reasons[name]}" for name in ("latent dimensions", "hidden", "channels", START) if name in reasons),
        f"likelihood: {reasons.get('likelihood', config.likelihood)}{sigma}"
        f"{'; each value is redrawn as 0 or 1 at each step' if run.binarize else ''}",
        f"length: {length}, {plural(run.batch_size, 'picture')} a step{why}{batch}",
        f"device: {run.device}, {'bf16 where autocast allows' if run.bf16 else 'float32'}",
    ]
    if args.validate_every > 1:
        lines.append(f"log: one line every {args.validate_every} epochs, after the validation")
    if args.objective != "elbo" or run.objective.remark():
        lines.append(f"objective: {args.objective}: {run.objective.remark() or 'at beta = 1 the ELBO'}")
    if args.init_from:
        lines.append(f"weights: from {args.init_from}, digest {args.init_digest[:12]}")
    return ["plan", *(f"  {line}" for line in lines)]


def next_steps(out: Path, data_dir: Path, default_data_dir: Path) -> list[str]:
    """Return the two commands that come next: serve the model, and measure it."""
    directory = out.resolve()
    shown = out if len(out.parts) > 1 else directory
    data = "" if data_dir.resolve() == default_data_dir.resolve() else f" --data-dir {shlex.quote(str(data_dir))}"
    serve = f"{command('service')} --models-dir {shlex.quote(str(shown.parent))}"
    return [
        "next:",
        f"  {serve} --default-model {shlex.quote(directory.name)}    # then open http://localhost:8000/sample?n=16",
        f"  {command('models.evaluate')} {shlex.quote(str(out))}{data} --report",
    ]
