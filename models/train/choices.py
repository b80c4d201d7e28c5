"""Choose what the command line leaves open: batch size and length of a run; its kind chooses the net and the likelihood.

Each choice comes with its reason, for the plan, the run's README and config.json. Flags and presets always win. Knows nothing
of models or of files.
"""

import argparse
import math

from torch import Tensor

from models.train.kinds import training_for

EPOCHS, LEAST_STEPS = 50, 2000
BATCH, SMALL_BATCH = 128, 32
SMALL_SET = 5000  # With fewer items, small batches give more steps for the same time.
LABELS = "labels"  # why the fitted prior will not know them
CHECKS = 100  # A run whose length is chosen here measures its validation split about so many times.


def choose(args: argparse.Namespace, x: Tensor, training: int, resumed: bool = False) -> dict[str, str]:
    """Fill in the flags that were left open, and return a sentence with the reason for each. `training`: number of items.

    x: rows of the kind, (N, ...). A resumed run has all flags, and keeps the sentences that it recorded. Its net is never
    chosen again, because a run of an earlier version has another one. `models.train.latent_dim` chooses the latent dimensions.
    """
    kind = training_for(args.data)
    recorded: dict[str, str] = dict(getattr(args, "choices", None) or {})
    reasons = kind.choose(args, x, resumed) | recorded
    if not args.batch_size:
        small = training < SMALL_SET and not args.preset
        args.batch_size = SMALL_BATCH if small else BATCH
        if small:
            reasons["batch size"] = f"small batches, because there are fewer than {SMALL_SET} {kind.kind.many}"
    steps_per_epoch = training // min(args.batch_size, training)
    if not args.epochs and not args.steps:
        args.epochs = max(EPOCHS, math.ceil(LEAST_STEPS / steps_per_epoch))
        args.validate_every = args.validate_every or max(1, args.epochs // CHECKS)
        reasons["length"] = f"{args.epochs} epochs, " + (
            f"so that {training} {kind.kind.many} give at least {LEAST_STEPS} steps" if args.epochs > EPOCHS else "the default"
        )
    args.validate_every = args.validate_every or 1
    args.choices = reasons
    return reasons
