"""The pictures of a training run, and whether they are still those that the run was started with.

Knows nothing of models or objectives.
"""

import argparse
from pathlib import Path

import torch

from models.data import Pictures, hold_out, load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.train.resume import STATE, Data, ResumeError, recorded_data
from models.train.run_directory import data_digest


def load_pictures(args: argparse.Namespace, device: torch.device) -> tuple[Pictures, Pictures, Data]:
    """Training and validation pictures on the device, and what both together are.

    With --resume they must be what they were. Raises DataError, ResumeError.
    """
    options = FolderOptions(args.size and tuple(args.size), args.channels, args.fit or "crop", args.filter, args.max_corrupt)
    try:
        pictures = load_data(args.data, args.data_dir, options, args.mirror).train
    except DataError as error:
        if not args.resume or not (args.out / "run" / STATE).exists():
            raise
        raise ResumeError(
            f"{error}; the run in {args.out} goes on only with the data that it was started with: put them back (a relative "
            "path starts where the command runs), or start anew with --overwrite or another --out"
        ) from None
    channels, height, width = pictures.x.shape[1:]
    data = Data(data_digest(pictures.x), len(pictures), (channels, height, width))
    if args.resume:
        check_data(args.out, args.data, data)
    training, validation = hold_out(pictures, args.validation, args.seed)
    if not len(training):
        raise DataError(f"--validation {args.validation} of {len(pictures)} pictures leaves none to train on")
    return training.to(device), validation.to(device), data


def check_data(out: Path, name: str, found: Data) -> None:
    """Compare with the data that the run in `out` was started with. Raises ResumeError when they are not the same."""
    was = recorded_data(out)
    if was is not None and was.digest != found.digest:
        raise ResumeError(
            f"the data of the run in {out} have changed: it was started with {was}, {name} now has {found}; "
            "put the old data back, or start anew with --overwrite or another --out"
        )
