"""How models of pictures are trained: flags of folders and arrays, nets and likelihoods, binarisation, memory layout."""

import argparse
from collections.abc import Callable
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from models.checkpoint import Manifest
from models.data.items import Splits
from models.data.sources import is_own
from models.ink import Invert
from models.kinds import KINDS
from models.kinds.kind import Kind, Shape
from models.nets.conv import Conv, default_channels
from models.preprocess import Filter, Fit, Preprocessing
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.path_names import expanded
from models.readers.ranges import RANGE_FLAG
from models.readers.read_options import ReadOptions
from models.readers.values import ValueOptions
from models.spatial_latents import ARCH as AUTOENCODER_KL
from models.train.flag_types import range_of, share, size, whole
from models.train.kinds.autoencoder_kl import autoencoder_options
from models.train.kinds.picture_choices import START, choose_likelihood, choose_net, mean_values
from models.train.kinds.training import DENSE, Training, recorded_training
from models.train.training_error import TrainingError
from models.transparency import Background
from models.vae import VAE


class PictureTraining(Training):
    """Training on grey or colour pictures, from data sets, folders and arrays."""

    kind: ClassVar[Kind] = KINDS["picture"]
    flags: ClassVar[frozenset[str]] = frozenset(
        (
            *("size", "channels", "fit", "filter", "range", "background", "invert", "max_corrupt", "binarize"),
            *("conv_channels", "feature_weight", "pixel_weight", "pack"),
        )
    )
    reasons: ClassVar[tuple[str, ...]] = ("hidden", "channels", START)

    @property
    def unit(self) -> str:
        return "images"

    # Formatted, each flag would take six lines.
    # fmt: off
    def add_flags(self, add: Callable[..., None]) -> None:
        add("--size", type=size, metavar="HxW",
            help="height x width of the pictures, e.g. 64x48, or 64 for a square (default: the size of most pictures)")
        add("--channels", type=whole(1, 3), choices=(1, 3),
            help="colours: 1 for grey, 3 for RGB (default: 1 if all pictures are grey)")
        add("--fit", choices=get_args(Fit),
            help="how to change the aspect ratio of pictures (default: crop for folders, otherwise pad)")
        add("--filter", choices=get_args(Filter), default="bilinear", help="how pictures are resized")
        add("--range", type=range_of, metavar="LO,HI",
            help="values that become black and white, such as 0,4095, or --range=-1000,400 if the first is negative (default: "
            "the smallest and the largest value of all pictures; outliers are left out)")
        add("--background", choices=get_args(Background), default="auto", help="what transparent parts are put on")
        add("--invert", choices=get_args(Invert), default="no",
            help="swap dark and light: yes, in all pictures; auto, in those whose border contradicts most others")
        add("--max-corrupt", type=share, default=0.01, metavar="SHARE",
            help="largest share of a folder's files that may be unreadable, or of the lines of a CSV file that may have too "
            "few or too many cells (one always may)")
    # fmt: on

    def options(self, args: argparse.Namespace) -> ReadOptions:
        source = f"the range of --init-from {args.init_from}" if args.init_from else RANGE_FLAG
        return FolderOptions(
            args.size and tuple(args.size), args.channels, args.fit, args.filter, args.max_corrupt,
            ValueOptions(args.range and tuple(args.range), args.background, args.invert, source),
            hold_out=args.validation_split, validation=args.validation, pack=args.pack and expanded(args.pack),
        )  # fmt: skip

    def options_again(self, manifest: Manifest) -> ReadOptions:
        training = recorded_training(manifest)
        return FolderOptions(
            max_corrupt=training.get("max_corrupt", FolderOptions.max_corrupt),
            model=manifest.preprocessing,
            hold_out=training.get("validation_split", "random"),
            validation=training.get("validation"),
        )

    def check_data(self, args: argparse.Namespace, splits: Splits) -> None:
        height, width = splits.train.x.shape[2:]
        if args.size and (height, width) != tuple(args.size):
            raise DataError(
                f"{args.data} has pictures of {height} x {width}; --size changes those of folder:PATH and npz:PATH only"
            )

    def preprocessing(self, args: argparse.Namespace, shape: Shape) -> Preprocessing:
        channels, height, width = shape
        return Preprocessing(channels, height, width, fit=args.fit or "pad", filter=args.filter)

    def choose(self, args: argparse.Namespace, rows: Tensor, resumed: bool) -> dict[str, str]:
        reasons = {}
        if is_own(args.data) and not args.preset and not args.init_from and args.arch == "conv" and not resumed:
            reasons = choose_net(args, rows)
        if not args.likelihood:
            args.likelihood, reasons["likelihood"] = choose_likelihood(args, rows)
        return reasons

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        drawn = args.likelihood == "bernoulli" and rows.shape[1] == 1 and args.objective != "perceptual"
        args.binarize = args.binarize or ("dynamic" if drawn else "none")
        if args.arch in DENSE:
            return super().net_options(args, rows, spec)
        if args.arch == AUTOENCODER_KL:
            channels, height, width = rows.shape[1:]
            return autoencoder_options(args, (channels, height, width))
        args.activation = args.activation or "silu"
        if args.hidden and len(args.hidden) > 1:
            raise TrainingError(f"--arch {args.arch} takes one --hidden width, not {len(args.hidden)}")
        if args.dropout:
            raise TrainingError(f"--arch {args.arch} takes no --dropout; only mlp does")
        channels, height, width = rows.shape[1:]
        hidden = args.hidden or {"conv": [192], "residual": [256]}[args.arch]
        options = {"hidden": hidden[0], "channels": args.conv_channels or default_channels((channels, height, width))}
        return {**options, **({"blocks": args.blocks} if args.arch == "residual" else {}), "activation": args.activation}

    def likelihood_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        found = super().likelihood_options(args, rows, spec)
        if args.arch != AUTOENCODER_KL:
            return found
        if args.likelihood != "gaussian":
            raise TrainingError(
                f"--arch {args.arch} gives means of pixels, so its --likelihood is gaussian, not {args.likelihood}"
            )
        return {**found, "link": "identity"}  # as diffusers reads the net

    def place(self, vae: VAE) -> None:
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def start(self, vae: VAE, args: argparse.Namespace, rows: Tensor) -> None:
        if START in args.choices and isinstance(vae.net, Conv):
            vae.net.start_from(mean_values(rows))

    def prepare(self, args: argparse.Namespace, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Convert bytes to x in [0, 1]. With --binarize dynamic, draw each pixel as 0 or 1 with its grey as probability."""
        x = self.kind.to_x(rows)
        return torch.bernoulli(x, generator=noise) if args.binarize == "dynamic" else x

    def prepares_together(self, args: argparse.Namespace) -> bool:
        return bool(args.binarize == "dynamic")

    def init_flags(self, manifest: Manifest) -> dict[str, Any]:
        spec = manifest.preprocessing
        return {
            "size": [spec.height, spec.width], "channels": spec.channels, "fit": spec.fit, "filter": spec.filter,
            # The values of the pictures are prepared as those of the checkpoint's were.
            "range": list(spec.range) if spec.range else None, "background": spec.background, "invert": spec.invert,
        }  # fmt: skip

    def size(self, shape: Shape) -> str:
        channels, height, width = shape
        return f"{height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}"

    def shape_flags(self, saved: Shape, wanted: Shape) -> list[str]:
        (channels, height, width), now = saved, wanted
        flags = [f"--size {height}x{width}"] if saved[1:] != now[1:] else []
        return flags + ([f"--channels {channels}"] if channels != now[0] else [])

    def against_collapse(self, likelihood: str) -> str:
        return "" if likelihood == "gaussian" else f"--likelihood gaussian instead of {likelihood} if pictures are grey, "

    def data_note(self, args: argparse.Namespace) -> str:
        return "; each value is redrawn as 0 or 1 at each step" if args.binarize == "dynamic" else ""
