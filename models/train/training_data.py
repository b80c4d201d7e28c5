"""Load the items of a training run, and check that a resumed run gets the same ones.

Knows nothing of models or objectives.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from models.condition import Condition
from models.data import Items, Splits, class_names, hold_out, is_own, load_data, near_duplicates
from models.data.clusters import clusters
from models.data.conditions import conditioned, find_condition
from models.readers.download import DataError
from models.readers.holding_out import SHARES, WHY_MANY, HoldOut, block_line, held_out_count, share_lines
from models.readers.left_out import plural
from models.readers.path_names import expanded, shown
from models.train.kinds import training_for
from models.train.ranks import Ranks
from models.train.resume import STATE, Data, ResumeError, recorded_data
from models.train.run_directory import data_digest


class Loaded(NamedTuple):
    """The items of a run: for training and validation, on its device, and a description of both together."""

    training: Items
    validation: Items
    data: Data
    test_count: int
    preprocessing: Any  # that of the kind; None: the items were rows already, such as bytes of one size
    summary: list[str]
    classes: list[str] | None
    near_duplicates: dict[str, Any]
    clusters: Tensor  # the block or group of each validation item, see `models.data.clusters`
    condition: Condition | None  # what a conditional model is told about each item

    @property
    def told(self) -> tuple[Condition, Tensor] | None:
        """Return the condition and the index of its value for each training item, int64 (N,); None without a condition."""
        labels = self.training.condition
        return None if self.condition is None or labels is None else (self.condition, labels)


def load_items(args: argparse.Namespace, device: torch.device) -> Loaded:
    """Return the items of a run, and print what was found if the run is new.

    The data set's own validation split is used where it has one; otherwise a share of the training items is held out.
    With --resume they must be the same as before. Raises DataError, ResumeError.
    """
    training_kind = training_for(args.data)
    kind = training_kind.kind
    check_out(args.out, args.data)
    resuming = args.resume and (args.out / "run" / STATE).exists()
    # The file has what the run was started with, even if the folder has changed since.
    source, options = args.data, training_kind.options(args)
    if resuming and args.pack and expanded(args.pack).exists():
        source, options = f"packed:{args.pack}", replace(options, pack=None)
    try:
        splits = load_data(source, args.data_dir, options, args.mirror)
    except DataError as error:
        if not resuming:
            raise
        lost = f"{args.pack} or the data" if args.pack and not source.startswith("packed:") else "the data"
        raise ResumeError(
            f"{error}; the run in {args.out} continues only with its original data: restore {lost} (a relative "
            "path is relative to the current directory), or start a new run with --overwrite or another --out"
        ) from None
    if not resuming:  # A run that continues has the same data as before.
        for line in splits.summary:
            tqdm.write(line)
    items = splits.train
    training_kind.check_data(args, splits)
    others = digests(splits, args.validation_split, args.condition)
    data = Data(others.pop(f"training {kind.many}"), len(items), tuple(items.x.shape[1:]), others)
    if args.resume:
        check_data(args.out, args.data, data)
    own, lines = is_own(args.data), list[str]()
    if args.validation is None and args.validation_split == "random":  # Blocks and groups have more than a share.
        args.validation, why = SHARES["random"], ""
        if splits.validation is None:
            args.validation, why = training_kind.validation_share(len(items))
        if why:
            held = f"{100 * args.validation:g} % of {plural(len(items), kind.noun, kind.many)}"
            lines.append(f"validation: {held}, {why} (--validation SHARE chooses otherwise)")
    if splits.validation is None:
        if args.validation_split == "group" and items.groups is None and not own:
            raise DataError(f"--validation-split group, but {args.data} has no groups: choose random or blocks")
        count = len(items)
        wanted = held_out_count(count, args.validation, args.validation_split, items.groups)
        if args.validation is None:
            lines.append(f"validation: about {wanted:,} of {plural(count, kind.noun, kind.many)}, {kind.worded(WHY_MANY)}")
        if args.validation_split == "blocks":
            lines.append(kind.worded(block_line(["validation"], count, wanted, kind.comparable)))
        training, validation = hold_out(items, args.validation, args.seed, True, args.validation_split)
        if args.validation_split == "group":
            lines += map(kind.worded, share_lines("validation", len(validation), wanted, count))
    else:
        training, validation = items, splits.validation
    if not len(training):
        raise DataError(
            f"--validation {args.validation} of {plural(len(items), kind.noun, kind.many)} leaves none to train on"
        )
    condition = None
    if args.condition:
        classes = splits.classes or class_names({"name": args.data})
        condition, values = find_condition(args.condition, training, classes, args.data)
        training, validation = (
            conditioned(some, condition, classes, part, args.data)
            for part, some in (("training", training), ("validation", validation))
        )
        conditioned(splits.test, condition, classes, "test", args.data)  # so that it fails before the training
        lines += values
    found = near_duplicates.compare(training, validation, kind=kind)
    advise = splits.validation is None and args.validation_split == "random"
    lines.append(near_duplicates.line(found, "validation", advise, own or items.groups is not None, kind))
    if not resuming:
        tqdm.write("\n".join(lines))
    return Loaded(
        training.to(device), validation.to(device), data, len(splits.test), splits.preprocessing,
        [*splits.summary, *lines], splits.classes, found,
        clusters(args.validation_split, validation, training), condition,
    )  # fmt: skip


def load_for_all(args: argparse.Namespace, device: torch.device, ranks: Ranks) -> Loaded:
    """Return `load_items` of one process of a run, after a check that all of them have read the same.

    What is downloaded is read by the leading process first. Raises also TrainingError.
    """
    if not is_own(args.data) and not ranks.leads:
        ranks.meet()
    loaded = load_items(args, device)
    if not is_own(args.data) and ranks.leads:
        ranks.meet()
    found = {"the SHA-256 of the training data": loaded.data.digest, **loaded.data.others}
    ranks.check_alike("the data", found, "give all of them the same files")
    return loaded


def check_out(out: Path, name: str) -> None:
    """Raise DataError if the checkpoint would lie in the folder that is read: its samples would become data."""
    kind, _, rest = name.partition(":")
    folder = expanded(rest)
    if (
        is_own(name)
        and rest
        and (kind == "folder" or folder.is_dir())
        and folder.resolve() in (out.resolve(), *out.resolve().parents)
    ):
        raise DataError(
            f"--out {shown(out)} lies in the folder {shown(folder)} that is read, so the next reading would take the pictures "
            "of the run for data; give an --out outside of it, and move away what earlier runs wrote there"
        )


def digests(splits: Splits, kind: HoldOut, condition: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of the items and of the labels of each split, by name; of the groups, if they are held out.

    `condition` is the key of the condition; if it is a factor, there is its SHA-256, too.
    """
    found = {}
    for name, part in (("training", splits.train), ("validation", splits.validation), ("test", splits.test)):
        if part is not None:
            found[f"{name} {splits.of.many}"] = data_digest(part.x)
            if part.labels is not None:
                found[f"{name} labels"] = data_digest(part.labels)
            if condition and condition in part.factors:
                found[f"{name} {condition}"] = data_digest(part.factors[condition])
    if kind == "group" and splits.train.groups is not None:
        found["training groups"] = data_digest(splits.train.groups)
    return found


def check_data(out: Path, name: str, found: Data) -> None:
    """Raise ResumeError if these are not the data that the run in `out` was started with."""
    was = recorded_data(out)
    if was is None:
        return
    worded = training_for(name).kind.worded
    instead = "restore the old data, or start a new run with --overwrite or another --out"
    if was.digest != found.digest:
        raise ResumeError(
            f"the data of the run in {out} have changed: it was started with {worded(str(was))}, but {name} now "
            f"has {worded(str(found))}; {instead}"
        )
    both = {**was.others, **found.others}
    if was.others and (changed := [part for part in both if was.others.get(part) != found.others.get(part)]):
        raise ResumeError(
            f"the data of the run in {out} have changed: its {', '.join(changed)} are not those that it was started with, "
            f"so its scores could not be compared; {instead}"
        )
