"""The parts of one training run: data, model, optimiser, schedules, and output files.

The training loop is in `models.train.__main__`. Learning rate, beta, order of the items and file names are functions of
the step, so that a run can be resumed from a step number.
"""

import argparse
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from models import standard_error
from models.checkpoint import save, save_weights
from models.condition import blocks, in_turn
from models.mosaic import mosaic, write_png
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.priors import VampPrior
from models.readers.left_out import plural
from models.sigma import calibrate, mean_squared_error, sigma_of
from models.sigma import record as sigma_record
from models.train import arguments, overfitting, perceptual
from models.train.averaging import Average
from models.train.choices import LABELS, choose
from models.train.clipping import clip
from models.train.continuing import first_length, told
from models.train.devices import own_device, set_threads
from models.train.final_prior import lost_labels
from models.train.gradients import Gradients
from models.train.initial_weights import load_initial
from models.train.kinds import training_for
from models.train.latent_dim import ACTIVE_VARIANCE, fill_in_latent_dim, is_by_trial, trial_steps
from models.train.learning_rate import learning_rate
from models.train.losses import Loss
from models.train.model_flags import check_batch, model_config, parameter_groups
from models.train.objectives import OBJECTIVES, wishes
from models.train.order import batches
from models.train.ranks import ALONE, Ranks
from models.train.resume import STATE, RunState
from models.train.run_directory import snapshot_path, snapshot_steps
from models.train.share import Share
from models.train.training_data import load_for_all
from models.train.validation import Validation
from models.vae import VAE

SAMPLES, SAMPLE_COLUMNS = 64, 8
VALIDATION_ROWS = 512
# Training stops after so many consecutive steps with a loss that is not finite.
MAX_BAD_STEPS = 20
COLLAPSE = "posterior collapse"  # the first words of that warning


class Run:
    """One training run, as the training loop uses it."""

    def __init__(self, args: argparse.Namespace, ranks: Ranks = ALONE) -> None:
        self.args, self.ranks = args, ranks
        self.directory = args.out / "run"
        self.device = own_device(args.device, ranks)
        ranks.connect(self.device)
        set_threads(args.threads, ranks)
        torch.manual_seed(args.seed)
        self.loaded = load_for_all(args, self.device, ranks)
        self.items, self.validation, self.data = self.loaded[:3]
        self.training = training_for(args.data)
        self.kind = self.training.kind
        self.spec = self.loaded.preprocessing or self.training.preprocessing(args, self.data.shape)
        going_on = args.resume and (self.directory / STATE).exists()
        perceptual.check(args, self.items)
        choose(args, self.items.x, len(self.items), going_on)
        self.batch_size = min(args.batch_size, len(self.items))
        check_batch(args, self.batch_size, self.training, ranks.size)
        self.share = Share(self.batch_size, ranks)
        self.steps_per_epoch = len(self.items) // self.batch_size
        self.steps: int = args.steps or self.steps_per_epoch * args.epochs
        fill_in_latent_dim(args, self.items.x, self.steps, self.loaded.preprocessing, self.loaded.told, ranks)
        vars(args).update(ranks.first(vars(args)))  # A trial may find something else where another CPU rounds differently.
        if not going_on and (reason := lost_labels(args, self.loaded, args.latent_dim)):
            args.choices[LABELS] = f"the prior that is fitted at the end knows no labels, because {self.kind.worded(reason)}"
        self.vae = VAE(model_config(args, self.items.x, self.loaded.preprocessing, self.loaded.condition)).to(self.device)
        if not going_on:
            self.training.start(self.vae, args, self.items.x)
        if args.init_from and not going_on:
            start = load_initial(args.init_from, self.vae, args.data)
            args.init_digest, args.init_data = start.digest, start.manifest.data
        self.training.place(self.vae)
        self.optimizer = torch.optim.Adam(parameter_groups(self.vae, args.l2), lr=args.lr, eps=args.adam_eps, fused=True)
        self.noise = torch.Generator(self.device).manual_seed(args.seed)
        if isinstance(self.vae.prior_layer, VampPrior) and not args.init_from:
            self.vae.prior_layer.start_from(self.prepare(self.items.x[: len(self.vae.prior_layer.logits)], self.noise))
        self.share.place(self.vae)
        self.labels: Tensor | None = None  # of the batch, see `batches`
        self.gradients = Gradients(self.optimizer, self.share)  # It may move the weights, so what refers to them comes later.
        self.average = Average(self.vae, args.ema)
        self.bf16 = args.precision == "bf16" or (
            args.precision == "auto" and self.device.type == "cuda" and self.training.bf16
        )
        self.autocast: AbstractContextManager[Any] = (
            torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        )
        self.parameters = list(self.vae.parameters())
        # Only the process that leads trains the classifier, because not every GPU repeats its sums.
        classifier = perceptual.classifier(args, self.items, self.validation, going_on or not ranks.leads)
        self.objective = OBJECTIVES[args.objective](wishes(args, len(self.items), classifier))
        self.aim = "the importance-weighted bound" if self.objective.criterion == "bound" else "at beta = 1 the ELBO"
        self.loss = torch.compile(self.objective.__call__) if args.compile else self.objective
        self.stop, self._signals = list[int](), list[int]()  # whether the run stops after this step, and what asks for it
        self.steps_per_check = self.steps_per_epoch * args.validate_every
        first = first_length(args)
        self.warmup_steps: float = args.warmup * (first["steps"] or self.steps_per_epoch * first["epochs"])
        self.snapshots = frozenset() if args.no_snapshots else snapshot_steps(self.steps)
        self.state = RunState(self.directory, self.vae, self.optimizer, self.noise, self.average, self.data, classifier)

    def stop_with(self, signals: list[int]) -> None:
        """Let `stop` have an entry once `signals` has one. Several processes agree on the step, so that all stop after it."""
        self._signals = signals
        if self.ranks.size == 1:
            self.stop = signals

    def ends_epoch(self, step: int) -> bool:
        """Return whether an epoch, or the run, ends with so many steps."""
        return step % self.steps_per_epoch == 0 or step >= self.steps

    def is_checked(self, step: int) -> bool:
        """Return whether the validation split is measured after so many steps."""
        return step % self.steps_per_check == 0 or step >= self.steps

    def lr(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.args, step / self.steps)

    def warm(self, step: int) -> float:
        """Return the factor of beta, which rises linearly to 1 during the warm-up (Bowman et al. 2016, arXiv:1511.06349)."""
        return min(1.0, (step + 1) / self.warmup_steps if self.warmup_steps else 1.0)

    def batches(self, epoch: int, first: int) -> Iterator[Tensor]:
        """Yield this process's rows of the epoch's batches from `first` on, as the loss takes them, and set `labels`.

        Seed and epoch determine the order.
        """
        lengths = self.kind.lengths(self.items.x)
        found = batches(len(self.items), self.batch_size, self.args.seed, epoch, None if lengths is None else lengths.cpu())
        for rows in islice(found, first, None):
            together, rows, labels = self.training.prepares_together(self.args), rows.to(self.device), self.items.condition
            self.labels = None if labels is None else self.share.own(labels[rows])
            x = self.prepare(self.items.x.index_select(0, rows if together else self.share.own(rows)), self.noise)
            yield self.share.own(x) if together else x

    def prepare(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Return the x of rows as the loss takes it; for pictures, --binarize dynamic draws each pixel as 0 or 1."""
        return self.training.prepare(self.args, rows, noise)

    def step(self, x: Tensor, step: int) -> Loss | None:
        """Take one optimiser step on a batch, of which x has own rows. If loss or gradient is not finite, only return None."""
        lr = self.lr(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        size = (self.args.samples, self.share.whole(x), self.vae.config.latent_dim)
        eps = self.share.own(torch.randn(size, generator=self.noise, device=self.device), 1)
        # A tensor, because torch.compile would compile again for each new number.
        warm = torch.tensor(self.warm(step), device=self.device) if self.args.compile else self.warm(step)
        with self.autocast:
            loss = self.loss(self.vae.given(self.labels), x, eps, warm, self.share)
        for parameter in self.parameters:
            parameter.grad = None
        loss, stop = self.gradients.backward(loss, bool(self._signals))
        if stop and self.ranks.size > 1:
            self.stop.append(1)
        if not clip(self.parameters, self.args.clip, loss.value, self.gradients.norm):
            return None
        self.optimizer.step()
        self.gradients.updated()
        self.average.update(step)
        return loss

    @torch.no_grad()
    def validate(self) -> Validation:
        """Measure the validation split with the weights that would be saved, and the same noise every time.

        An optimal sigma is first set to the RMSE of these items.
        """
        self.vae.eval()
        noise = torch.Generator(self.device).manual_seed(0)
        terms, bounds, losses, means = [], [], [], []
        sigma = rmse = None
        with self.average.applied():
            if self.vae.config.likelihood == "gaussian":
                parts = (self.prepare(block, noise) for block in self.validation.x.split(VALIDATION_ROWS))
                mse = mean_squared_error(self.vae, parts, noise, self.validation.condition)
                calibrate(self.vae, mse)
                sigma, rmse = sigma_of(self.vae), mse**0.5
                noise.manual_seed(0)
            for vae, block in blocks(self.vae, self.validation.x, self.validation.condition, VALIDATION_ROWS):
                x = self.prepare(block, noise)
                eps = torch.randn(len(x), self.vae.config.latent_dim, generator=noise, device=self.device)
                terms.append(evidence_lower_bound(vae, x, eps))
                if self.objective.criterion == "bound":
                    more = torch.randn(self.args.samples, *eps.shape, generator=noise, device=self.device)
                    bounds.append(importance_weighted_bound(vae, x, more).log_prob)
                if self.objective.criterion == "loss":
                    losses += [self.objective(vae, x, eps[None]).value] * len(x)
                means.append(vae.encode(self.kind.cut(block)).mu)
        self.vae.train()
        log_likelihood, kl = (float(torch.cat(values).mean()) for values in zip(*terms, strict=True))
        active = int((torch.cat(means).var(0, correction=0) > ACTIVE_VARIANCE).sum())
        bound = float(torch.cat(bounds).mean()) if bounds else None
        loss = float(torch.stack(losses).mean()) if losses else None
        elbo = standard_error.clustered(torch.cat([t.elbo for t in terms]), self.loaded.clusters)
        return Validation(elbo.value, log_likelihood, kl, bound, loss, active, sigma, rmse, elbo.error)

    def warnings(self, warm: float, active: int | None, ended: bool = False) -> list[str]:
        """Return warnings for the log: the loss is not the negative ELBO, the posterior collapses, or D does not fit.

        `active` is the number of active latent dimensions, if it could be measured; after few steps, all of them are. The
        texts are the same in every epoch: numbers that change have their own fields in the log.
        """
        found = [None if self.training.is_usual(self.args) else self.objective.remark()]
        if warm < 1 and self.objective.beta:
            found.append(f"warm-up: the weight of the KL rises until step {math.ceil(self.warmup_steps)}, "
                         f"the effective beta is below {self.objective.beta:g}")  # fmt: skip
        dim = self.vae.config.latent_dim
        if active is None or warm < 1 or self.objective.criterion == "last":  # too early, or not meaningful
            pass
        elif not active:
            other = self.training.against_collapse(self.vae.config.likelihood)
            found.append(f"{COLLAPSE}: none of the {dim} latent dimensions carries information, so all {self.kind.many} have "
                         f"the same latent; if this lasts, start a new run with {other}--warmup 0.2, "
                         "--objective free-bits or a smaller --lr")  # fmt: skip
        elif (
            active == dim > 2
            and ended
            and self.args.objective != "free-bits"
            and trial_steps(self.steps)
            and not self.args.preset
        ):
            chosen = ", as many as a trial chose," if is_by_trial(self.args.choices) else ""
            lost = "" if LABELS in self.args.choices else lost_labels(self.args, self.loaded, 2 * dim)
            found.append(f"all {dim} latent dimensions{chosen} are active: a larger --latent-dim, such as {2 * dim}, may give "
                         f"a better ELBO{lost and f', but the fitted prior would lose the labels: {lost}'}")  # fmt: skip
        elif 2 * active < dim and "latent dimensions" not in self.args.choices:
            found.append(f"fewer than half of the {dim} latent dimensions are active (variance of mu over the validation "
                         f"split above {ACTIVE_VARIANCE}): a smaller --latent-dim would do")  # fmt: skip
        return [warning for warning in found if warning]

    def count(self, number: int) -> str:
        """Return a number of items in words."""
        return plural(number, self.kind.noun, self.kind.many)

    @torch.no_grad()
    def write_samples(self, epoch: int) -> None:
        """Decode and write samples of the prior, the same latents at epochs 1, 2, 4, 8, ..."""
        self.vae.eval()
        eps = torch.randn(SAMPLES, self.vae.config.latent_dim, generator=torch.Generator().manual_seed(0)).to(self.device)
        with self.average.applied():
            vae = self.vae.given(in_turn(self.loaded.condition, SAMPLES, self.device))
            decoded = vae.decode(vae.prior(eps).sample(eps)).mean
        pictures = self.kind.pictures(decoded.float().cpu().numpy(), self.spec)
        write_png(self.directory / f"samples-{epoch:04d}.png", mosaic(pictures, min(SAMPLE_COLUMNS, self.kind.columns)))
        self.vae.train()

    def write_snapshot(self, step: int) -> None:
        """Write the weights if this is one of the steps whose weights are kept."""
        if step in self.snapshots:
            path = snapshot_path(self.directory, step)
            path.parent.mkdir(exist_ok=True)
            # `applied` would change weights of which other processes compute the next step.
            save_weights(path, self.vae, self.average.state(), durable=False)

    def save_checkpoint(self, epoch: int, reason: str, found: Validation | None = None) -> None:
        """Write the weights of this epoch as the checkpoint, for `models.load` and the service. `reason`: see KEPT.

        `found` is the validation of these weights, if there was one.
        """
        loaded, args = self.loaded, self.args
        data = {"name": args.data, "digest": self.data.digest, "binarize": args.binarize}
        known = {"summary": loaded.summary, "classes": loaded.classes, "near_duplicates": loaded.near_duplicates}
        known |= {"preset": args.preset, "choices": args.choices}
        data |= {name: value for name, value in known.items() if value}
        if self.args.init_from:
            data["init_from"] = {"path": self.args.init_from, "digest": self.args.init_digest}
            if self.args.init_data:  # how those weights were trained
                data["init_from"]["data"] = self.args.init_data
        if self.args.lengthened:
            data["lengthened"] = {"from": self.args.lengthened, "schedule": told(self.args)}
        beta = None if self.objective.criterion == "loss" else self.objective.beta  # Features have no effective beta.
        if found and found.rmse is not None and math.isfinite(found.rmse):
            data["sigma"] = sigma_record(self.vae, found.rmse**2, beta, len(self.validation))
        data |= standard_error.record(found.elbo, found.standard_error, loaded.clusters) if found else {}
        data |= {"kept": {"epoch": epoch, "by": reason}, "training": arguments.recorded(args)}
        with self.average.applied():
            if found and self.objective.criterion != "last":
                given = self.items.condition, self.validation.condition
                data |= overfitting.record(
                    self.vae, self.prepare, self.items.x, self.validation.x, self.loaded.clusters, given
                )
            save(self.args.out, self.vae, self.spec, data)
