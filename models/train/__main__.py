"""python -m models.train: train a VAE on pictures and write a checkpoint that the service can load.

This module has the training loop; `models.train.run` has the model, optimiser and schedules. The pictures stay on the
training device as bytes, and all noise comes from one generator.
"""

import argparse
import errno
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from models.checkpoint import CONFIG, WEIGHTS, Checkpoint, CheckpointError, read
from models.files.atomic_file import make_directory, remove_leftovers
from models.files.directory_lock import DirectoryInUse, locked
from models.readers.download import DataError
from models.sigma import told as told_sigma
from models.standard_error import told as told_error
from models.train import arguments, event_log, overfitting
from models.train.continuing import told
from models.train.devices import DeviceError, full_memory_explained
from models.train.final_metric import end_with_metric
from models.train.final_prior import end_with_prior
from models.train.flags import default_data_dir
from models.train.following import follow
from models.train.logs import Logs, Totals
from models.train.plan import facts, finished, kept, next_steps, plan, resume_command
from models.train.progress import Reporter
from models.train.ranks import ALONE, FailedElsewhere, LostProcess, Ranks, joined, report
from models.train.resume import STATE, Progress, ResumeError, has_steps, record_length
from models.train.run import MAX_BAD_STEPS, Run
from models.train.run_directory import SNAPSHOTS, explain, peak_memory_mb
from models.train.stopping import interrupted, stop_on_signals
from models.train.training_error import TrainingError

SKIPPED = "some steps had no effect, because their loss was not finite (NaN or infinite): a smaller --lr may prevent that"
# Latent dimensions are expected to carry information after so many steps, or after a tenth of a shorter run.
LATENTS_START = 200


def train(args: argparse.Namespace, ranks: Ranks = ALONE) -> Checkpoint:
    """Train until the last epoch, or until --patience or the user ends it. Raises TrainingError, DataError, ResumeError.

    Of several processes, this is the one that leads.
    """
    if args.tensorboard and not event_log.is_installed():
        raise TrainingError("--tensorboard needs TensorBoard: pip install 'vae-service[tensorboard]'")
    if args.now_longer:
        record_length(args.out / "run", arguments.resumable(args))
    with full_memory_explained():
        ranks.first(args)
        with interrupted():  # Reading the data changes nothing, so it stops at once.
            run = Run(args, ranks)
        with stop_on_signals() as signals:
            run.stop_with(signals)
            return _train(run)


def _train(run: Run) -> Checkpoint:
    """Run the training loop; it ends early when `run.stop` gets an entry."""
    args = run.args
    if not args.resume and run.directory.exists():  # Remove the old run that is overwritten.
        run.state.path.unlink(missing_ok=True)  # First, so that a run that is only half removed is never resumed.
        shutil.rmtree(run.directory)
    make_directory(run.directory)
    for directory in (args.out, run.directory, run.directory / SNAPSHOTS):
        remove_leftovers(directory)
    progress = run.state.restore() if args.resume and run.state.path.exists() else Progress()
    if progress.best_epoch and not all((args.out / name).exists() for name in (CONFIG, WEIGHTS)):
        progress.best_epoch, progress.best_score = math.ceil(progress.step / run.steps_per_epoch), None
        run.save_checkpoint(progress.best_epoch, "state")
        print(f"warning: the checkpoint in {args.out} was missing; it has the latest weights of the run now")
    if not run.state.path.exists():
        run.state.save(progress, arguments.resumable(args))  # First, so that --resume always works.
    unfinished = progress.step < run.steps and not progress.finished
    if unfinished:
        words = run.training.worded
        explain(run.directory, args.command, facts(run), arguments.resumable(args), progress.step, told(args), words)
        print("\n".join(plan(run, progress.step)))
    else:
        print(finished(run, progress.step))
    if not progress.step:
        run.write_snapshot(0)
    logs = Logs(run, progress.step)
    run.state.meet(run.ranks, progress)
    run.ranks.in_steps = True
    saved, bad_steps = time.monotonic(), 0
    reporter = Reporter(run.steps, run.steps_per_epoch, progress.step, quiet=not unfinished)
    while progress.step < run.steps and not progress.finished:
        epoch, position = divmod(progress.step, run.steps_per_epoch)
        totals = Totals(progress.epoch_sums)
        started, first_step = time.monotonic(), progress.step
        for x in run.batches(epoch, position):
            loss = run.step(x, progress.step)
            bad_steps = bad_steps + 1 if loss is None else 0
            if bad_steps >= MAX_BAD_STEPS:
                raise TrainingError(f"the loss was not finite (NaN or infinite) {MAX_BAD_STEPS} times in a row, last at step "
                                    f"{progress.step}: {_after_nan(run, progress)}")  # fmt: skip
            if loss is None:
                progress.skipped_steps += 1
            else:
                totals.add(loss)
            progress.step += 1
            run.write_snapshot(progress.step)
            reporter.step()
            if progress.step % 20 == 0 and loss is not None and not reporter.bar.disable:
                rate = (progress.step - first_step) * run.batch_size / (time.monotonic() - started)
                reporter.describe(f"epoch {epoch + 1} loss {loss.value:.2f} ELBO {loss.elbo.elbo.mean():.2f} "
                                  f"KL {loss.elbo.kl.mean():.2f} {rate:.0f} {run.training.unit}/s")  # fmt: skip
            due = bool(run.stop) or time.monotonic() - saved > args.save_every
            ended, checked = run.ends_epoch(progress.step), run.is_checked(progress.step)
            if due and not checked:  # The end of an epoch with validation saves anyway.
                progress.epoch_sums = totals.sums()
                run.state.save(progress, arguments.resumable(args))
                saved = time.monotonic()
            if run.stop or ended:
                break
        if not checked:
            progress.epoch_sums = totals.sums()
        else:
            sums = totals.sums()  # This waits for the GPU.
            items = (progress.step - first_step) * run.batch_size
            _end_epoch(run, progress, logs, sums, items / (time.monotonic() - started))
            run.state.save(progress, arguments.resumable(args))
            run.ranks.first(progress.finished)
        if run.stop and progress.step < run.steps:
            if not progress.best_epoch:
                run.save_checkpoint(epoch + 1, "latest")
            run.ranks.meet()
            reporter.close()
            raise KeyboardInterrupt(f"stopped; everything is saved; continue with: {resume_command(args.out)}")
    reporter.close()
    logs.close()
    if not progress.best_epoch:
        raise TrainingError(f"the loss was never finite on all validation {run.kind.many}: {_after_nan(run, progress)}")
    checkpoint = read(args.out)
    tells = (kept, told_error, told_sigma, overfitting.told)
    print(*filter(None, (tell(checkpoint.manifest.data, run.kind) for tell in tells)), sep="\n")
    if line := end_with_metric(args.out, checkpoint, run.items, run.validation):
        print(line)
    if line := end_with_prior(args.out, checkpoint, args, run.items, run.validation):
        print(line)
    return checkpoint


def _end_epoch(run: Run, progress: Progress, logs: Logs, sums: list[float], rate: float) -> None:
    """Validate, log, save the best weights, and decide whether this was the last epoch."""
    epoch = math.ceil(progress.step / run.steps_per_epoch)
    found = run.validate()
    score = found.score(run.objective.criterion, epoch)
    warm = progress.step >= run.warmup_steps
    if score is not None and math.isfinite(score + found.elbo) and (
        progress.best_score is None or not warm or score > progress.best_score
    ):  # fmt: skip
        run.save_checkpoint(epoch, run.objective.criterion if warm else "latest", found)
        progress.best_epoch = epoch
        progress.best_score = score if warm else None
    progress.finished = bool(warm and run.args.patience and epoch - progress.best_epoch >= run.args.patience)
    loss, log_likelihood, kl = (total / sums[3] if sums[3] else math.nan for total in sums[:3])
    progress.epoch_sums = []
    ended = progress.step >= run.steps or progress.finished
    if epoch & (epoch - 1) == 0 or ended:
        run.write_samples(epoch)
    weight = run.warm(progress.step - 1)
    # In small sets, latents that no step has reached yet would look like a collapse.
    judged = progress.step >= min(LATENTS_START, run.steps / 10)
    logs.write(
        {
            "epoch": epoch,
            "step": progress.step,
            "lr": run.lr(progress.step),
            "beta": weight * run.objective.beta,
            "train": {"loss": loss, "elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl},
            "validation": {name: value for name, value in found._asdict().items() if value is not None},
            "skipped_steps": progress.skipped_steps,
            f"{run.training.unit}_per_second": round(rate, 1),
            "peak_memory_mb": peak_memory_mb(run.device),
            "warnings": run.warnings(weight, found.active_units if judged and math.isfinite(found.elbo) else None, ended)
            + ([SKIPPED] if progress.skipped_steps else []),
        }
    )


def _after_nan(run: Run, progress: Progress) -> str:
    """Say what a run whose loss is not finite leaves, and what to do."""
    left = f"the checkpoint has epoch {progress.best_epoch}" if progress.best_epoch else "there is no checkpoint"
    sigma = ", or a larger --sigma" if run.vae.config.likelihood == "gaussian" else ""
    smaller = f"{min(run.args.lr / 10, 1e-3):g}"
    return f"{left}; start again with --overwrite and a smaller --lr, such as {smaller}, or a smaller --clip{sigma}"


def check_empty(out: Path) -> None:
    """Raise TrainingError if a new run would destroy a checkpoint or the steps of another run."""
    if (out / CONFIG).exists():
        raise TrainingError(f"{out} already has a checkpoint: add --resume or --overwrite, or choose another --out")
    if has_steps(out / "run"):
        raise TrainingError(
            f"{out} has a run that was stopped before its first checkpoint: --resume continues it, --overwrite starts again"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error, 130 if the user stopped it (everything is saved)."""
    ranks = ALONE
    try:
        with joined() as ranks:
            if not ranks.leads:
                return follow(ranks)
            args = arguments.parse(argv)
            with locked(args.out, "models.train", make=True):
                going_on = args.resume and (args.out / "run" / STATE).exists()
                if not going_on and not args.overwrite:
                    check_empty(args.out)
                checkpoint = train(args, ranks)
            ranks.meet()
    except FailedElsewhere as error:
        report(str(error))
        if ranks.leads:
            print(f"error: {error}", file=sys.stderr)
        return error.status
    except (TrainingError, DeviceError, DataError, ResumeError, CheckpointError, DirectoryInUse, OSError) as error:
        report(str(error))
        if ranks.leads:
            print(f"error: {error}", file=sys.stderr)
        elif ranks.in_steps or isinstance(error, LostProcess):  # Otherwise the one that leads says it.
            print(f"error: process {ranks.rank} of {ranks.size}: {error}", file=sys.stderr)
            return 1
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full and (args.out / "run" / STATE).exists():
            print(f"make room on the disk, then continue with: {resume_command(args.out)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        if ranks.leads:
            print(str(stopped) or "stopped before the training began", file=sys.stderr)
        return 130
    print(f"{args.out}: digest {checkpoint.digest[:12]}")
    print("\n".join(next_steps(args.out, args.data_dir, default_data_dir(), args.pack)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
