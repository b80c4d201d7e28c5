"""Load the pictures of a training run, and check that a resumed run gets the same ones.

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
    """Return training and validation pictures on the device, and a description of both together.

    With --resume they must be the same as before. Raises DataError, ResumeError.
    """
    options = FolderOptions(args.size and tuple(args.size), args.channels, args.fit or "crop", args.filter, args.max_corrupt)
    try:
        pictures = load_data(args.data, args.data_dir, options, args.mirror).train
    except DataError as error:
        if not args.resume or not (args.out / "run" / STATE).exists():
            raise
        raise ResumeError(
            f"{error}; the run in {args.out} continues only with its original data: restore the data (a relative "
            "path is relative to the current directory), or start a new run with --overwrite or another --out"
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
    """Raise ResumeError if these are not the data that the run in `out` was started with."""
    was = recorded_data(out)
    if was is not None and was.digest != found.digest:
        raise ResumeError(
            f"the data of the run in {out} have changed: it was started with {was}, but {name} now has {found}; "
            "restore the old data, or start a new run with --overwrite or another --out"
        )
