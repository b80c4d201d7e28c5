"""python -m models.train: learn a VAE from pictures and write a checkpoint that the service can serve.

One readable loop: batches are cut from bytes on the training device, noise comes from one generator, and learning rate,
beta and order are functions of the step, so that a step number says where a run stands.
"""

import argparse
import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models import arguments
from models.checkpoint import CONFIG, Checkpoint, CheckpointError, read, save
from models.data import Pictures, load_data
from models.devices import DeviceError, choose_device
from models.download import DataError
from models.folder import FolderOptions
from models.mosaic import grid, write_png
from models.nets.conv import default_channels
from models.objective import Elbo, evidence_lower_bound
from models.preprocess import Fit, Preprocessing
from models.resume import STATE, MetricsLog, Progress, ResumeError, RunState
from models.vae import VAE, VAEConfig, to_unit_interval

# steps in a row with a loss that is not finite, after which a run is beyond hope
MAX_BAD_STEPS = 20
SAMPLES = 64


class TrainingError(Exception):
    """A run that cannot start or go on; the message says why."""


class Run:
    """One training run: the pieces that the loop in `train` works with."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.directory: Path = args.out / "run"
        self.device = choose_device(args.device)
        torch.manual_seed(args.seed)
        self.pictures, self.validation = load_pictures(args, self.device)
        self.vae = VAE(model_config(args, self.pictures.x)).to(self.device)
        self.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=args.lr, fused=True)
        self.noise = torch.Generator(self.device).manual_seed(args.seed)
        self.binarize = args.binarize == "dynamic"
        bf16 = args.precision == "bf16" or (args.precision == "auto" and self.device.type == "cuda")
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        self.batch_size = min(args.batch_size, len(self.pictures))
        self.steps_per_epoch = len(self.pictures) // self.batch_size
        self.steps = self.steps_per_epoch * args.epochs
        self.state = RunState(self.directory, self.vae, self.optimizer, self.noise)

    def lr(self, step: int) -> float:
        """Half a cosine from --lr to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
        return float(self.args.lr * 0.5 * (1 + math.cos(math.pi * step / self.steps)))

    def beta(self, step: int) -> float:
        """A line from 0 to --beta over the warm-up (Bowman et al. 2016, arXiv:1511.06349)."""
        warmup = self.args.warmup * self.steps
        return float(self.args.beta * min(1.0, (step + 1) / warmup if warmup else 1.0))

    def batches(self, epoch: int, first: int) -> Iterator[Tensor]:
        """x in [0, 1] of the epoch's batches from number `first` on; its order follows from the seed and the epoch."""
        order = torch.randperm(len(self.pictures), generator=torch.Generator().manual_seed(self.args.seed + epoch + 1))
        for rows in order.to(self.device).split(self.batch_size)[first : self.steps_per_epoch]:
            yield self.prepare(self.pictures.x[rows], self.noise)

    def prepare(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Bytes -> x in [0, 1]; greys are drawn as 0 or 1 with their probability when the run is binarised."""
        x = to_unit_interval(x)
        return torch.bernoulli(x, generator=noise) if self.binarize else x

    def step(self, x: Tensor, step: int) -> Elbo | None:
        """One optimiser step; None when loss or gradient is not finite and nothing was changed."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step)
        eps = torch.randn(len(x), self.vae.config.latent_dim, generator=self.noise, device=self.device)
        with self.autocast:
            terms = evidence_lower_bound(self.vae, x, eps)
            loss = terms.loss(self.beta(step))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.args.clip)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            return None
        self.optimizer.step()
        return Elbo(terms.log_likelihood.detach(), terms.kl.detach())

    @torch.no_grad()
    def validate(self) -> Elbo:
        """Mean terms over the validation split, with the same noise every time."""
        self.vae.eval()
        noise = torch.Generator(self.device).manual_seed(0)
        terms = []
        for block in self.validation.x.split(512):
            x = self.prepare(block, noise)
            eps = torch.randn(len(x), self.vae.config.latent_dim, generator=noise, device=self.device)
            terms.append(evidence_lower_bound(self.vae, x, eps))
        self.vae.train()
        return Elbo(torch.cat([t.log_likelihood for t in terms]).mean(), torch.cat([t.kl for t in terms]).mean())

    @torch.no_grad()
    def write_samples(self, epoch: int) -> None:
        """The same draws from the prior at epochs 1, 2, 4, 8, ..."""
        self.vae.eval()
        z = torch.randn(SAMPLES, self.vae.config.latent_dim, generator=torch.Generator().manual_seed(0))
        write_png(self.directory / f"samples-{epoch:04d}.png", grid(self.vae.decode(z.to(self.device)).mean))
        self.vae.train()

    def save_checkpoint(self) -> None:
        """Weights as they are now, for `models.load` and the service."""
        shape = self.vae.config.shape
        fit: Fit = self.args.fit or ("crop" if self.args.data.startswith("folder:") else "pad")
        data = {"name": self.args.data, "binarize": self.args.binarize, "training": arguments.recorded(self.args)}
        save(self.args.out, self.vae, Preprocessing(*shape, fit=fit, filter=self.args.filter), data)


def train(args: argparse.Namespace) -> Checkpoint:
    """Train until the epochs, the patience or the user end it. Raises TrainingError, DataError, ResumeError."""
    with _stop_on_signals() as stop:
        return _train(Run(args), stop)


def _train(run: Run, stop: list[int]) -> Checkpoint:
    """The loop; `stop` has an entry when the user wants it to end."""
    args = run.args
    if not args.resume:
        shutil.rmtree(run.directory, ignore_errors=True)  # of a run that is overwritten
    run.directory.mkdir(parents=True, exist_ok=True)
    progress = run.state.restore() if args.resume and run.state.path.exists() else Progress()
    log = MetricsLog(run.directory / "metrics.jsonl", progress.step)
    saved, bad_steps = time.monotonic(), 0
    bar = tqdm(total=run.steps, initial=progress.step, unit="step", disable=None, dynamic_ncols=True)
    started, first_step = time.monotonic(), progress.step
    while progress.step < run.steps and not progress.finished:
        epoch, position = divmod(progress.step, run.steps_per_epoch)
        sums = torch.tensor(progress.epoch_sums or [0.0] * 4, dtype=torch.float64, device=run.device)
        for x in run.batches(epoch, position):
            beta = run.beta(progress.step)
            terms = run.step(x, progress.step)
            bad_steps = bad_steps + 1 if terms is None else 0
            if bad_steps >= MAX_BAD_STEPS:
                raise TrainingError(f"the loss was not finite {MAX_BAD_STEPS} times in a row, last at step "
                                    f"{progress.step}: try a smaller --lr or --clip, or a larger --sigma")  # fmt: skip
            if terms is None:
                progress.skipped_steps += 1
            else:
                means = torch.stack([terms.loss(beta), terms.log_likelihood.mean(), terms.kl.mean()])
                sums += torch.cat([means, torch.ones_like(means[:1])])
            progress.step += 1
            bar.update()
            if progress.step % 20 == 0 and terms is not None:
                rate = (progress.step - first_step) * run.batch_size / (time.monotonic() - started)
                bar.set_postfix_str(f"epoch {epoch + 1} loss {means[0]:.2f} ELBO {terms.elbo.mean():.2f} "
                                    f"KL {means[2]:.2f} {rate:.0f} images/s")  # fmt: skip
            due = bool(stop) or time.monotonic() - saved > args.save_every
            if due and progress.step % run.steps_per_epoch:  # the end of an epoch saves by itself
                progress.epoch_sums = sums.tolist()
                run.state.save(progress, arguments.resumable(args))
                saved = time.monotonic()
            if stop:
                break
        if progress.step % run.steps_per_epoch == 0:
            images = (progress.step - first_step) * run.batch_size
            _end_epoch(run, progress, log, sums.tolist(), images / (time.monotonic() - started))
            run.state.save(progress, arguments.resumable(args))
        if stop and progress.step < run.steps:
            if not progress.best_epoch:
                run.save_checkpoint()
            bar.close()
            raise KeyboardInterrupt
    bar.close()
    if not progress.best_epoch:
        raise TrainingError("the loss was not finite in all of training or validation: try a smaller --lr or --clip")
    return read(args.out)


def _end_epoch(run: Run, progress: Progress, log: MetricsLog, sums: list[float], rate: float) -> None:
    """Validate, log, keep the best weights, and decide whether it was the last epoch."""
    epoch = progress.step // run.steps_per_epoch
    terms = run.validate()
    elbo = float(terms.elbo)
    warm = progress.step >= run.args.warmup * run.steps
    if math.isfinite(elbo) and (progress.best_elbo is None or not warm or elbo > progress.best_elbo):
        run.save_checkpoint()
        progress.best_epoch = epoch
        progress.best_elbo = elbo if warm else None
    progress.finished = bool(warm and run.args.patience and epoch - progress.best_epoch >= run.args.patience)
    loss, log_likelihood, kl = (total / sums[3] if sums[3] else math.nan for total in sums[:3])
    progress.epoch_sums = []
    if epoch & (epoch - 1) == 0 or progress.step >= run.steps or progress.finished:
        run.write_samples(epoch)
    log.write(
        {
            "epoch": epoch,
            "step": progress.step,
            "lr": run.lr(progress.step),
            "beta": run.beta(progress.step - 1),
            "train": {"loss": loss, "elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl},
            "validation": {"elbo": elbo, "log_likelihood": float(terms.log_likelihood), "kl": float(terms.kl)},
            "skipped_steps": progress.skipped_steps,
            "images_per_second": round(rate, 1),
        }
    )
    tqdm.write(f"epoch {epoch}: train ELBO {log_likelihood - kl:.2f}, validation ELBO {elbo:.2f} (KL {terms.kl:.2f})")


def load_pictures(args: argparse.Namespace, device: torch.device) -> tuple[Pictures, Pictures]:
    """Training and validation pictures on the device; the validation share is the end of the training split."""
    options = FolderOptions(args.size and tuple(args.size), args.channels, args.fit or "crop", args.filter, args.max_corrupt)
    pictures = load_data(args.data, args.data_dir, options, args.mirror).train
    held_out = max(1, round(len(pictures) * args.validation))
    if held_out >= len(pictures):
        raise TrainingError(f"--validation {args.validation} of {len(pictures)} pictures leaves none to train on")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(args.seed))
    return pictures[order[held_out:]].to(device), pictures[order[:held_out]].to(device)


def model_config(args: argparse.Namespace, x: Tensor) -> VAEConfig:
    """The configuration that the flags ask for; fills in the defaults that depend on the data. Raises TrainingError."""
    channels, height, width = x.shape[1:]
    args.likelihood = args.likelihood or ("bernoulli" if channels == 1 else "gaussian")
    args.binarize = args.binarize or ("dynamic" if args.likelihood == "bernoulli" and channels == 1 else "none")
    args.activation = args.activation or ("silu" if args.arch == "conv" else "relu")
    if args.arch == "mlp":
        options: dict[str, Any] = {"hidden": args.hidden or [400], "dropout": args.dropout}
    elif args.dropout or (args.hidden and len(args.hidden) > 1):
        raise TrainingError("conv takes one --hidden width and no --dropout")
    else:
        options = {
            "hidden": (args.hidden or [192])[0],
            "channels": args.conv_channels or default_channels((channels, height, width)),
        }
    options["activation"] = args.activation
    likelihood_options = {"sigma": args.sigma} if args.likelihood == "gaussian" else {}
    try:
        config = VAEConfig((channels, height, width), args.latent_dim, args.arch, options, args.likelihood, likelihood_options)
        VAE(config)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return config


@contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C or SIGTERM fills, so that a step is never cut in half; the second one ends at once."""
    received: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if received:
            sys.exit(128 + number)
        received.append(number)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 trained, 1 could not, 130 stopped by the user with everything saved."""
    try:
        args = arguments.parse(argv)
        going_on = args.resume and (args.out / "run" / STATE).exists()
        if not going_on and not args.overwrite and (args.out / CONFIG).exists():
            raise TrainingError(f"{args.out} holds a checkpoint already: add --resume or --overwrite, or choose another --out")
        checkpoint = train(args)
    except (TrainingError, DeviceError, DataError, ResumeError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; everything is saved, go on with: python -m models.train --out {args.out} --resume", file=sys.stderr)
        return 130
    print(f"{args.out}: digest {checkpoint.digest[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
