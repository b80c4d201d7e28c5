"""Load data sets by name into memory as uint8 pictures: mnist, fashion-mnist, lpc-sprites, folder:PATH, npz:PATH.

Knows nothing of models or objectives. `models.readers` reads folders and arrays, and downloads files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.preprocess import Preprocessing
from models.readers import holding_out
from models.readers.arrays import read_arrays
from models.readers.copies import copy_lines
from models.readers.download import DataError, ensure_file
from models.readers.folder import FolderOptions, read_folder
from models.readers.formats import SUFFIXES
from models.readers.found import Found
from models.readers.holding_out import HoldOut, block_line, enough_groups, held_out_count, hold_out_rows, share_lines
from models.readers.idx import read_idx
from models.readers.layout import TEST, TRAIN, VALIDATION
from models.readers.left_out import plural
from models.readers.path_names import expanded, shown
from models.readers.rows import permute_rows


@dataclass(frozen=True)
class Pictures:
    """Pictures as bytes, with class labels and generative factors if the data set has them.

    `place` is the position of each picture in the source, None if they are in its order. `groups` says which pictures belong
    together, such as those of one video or patient. `condition` is what a conditional model is told about each of them.
    """

    x: Tensor  # uint8 (N, C, H, W)
    labels: Tensor | None = None  # int64 (N,)
    factors: Mapping[str, Tensor] = field(default_factory=dict)  # name -> int64 (N,)
    place: Tensor | None = None  # int64 (N,)
    groups: Tensor | None = None  # int64 (N,)
    condition: Tensor | None = None  # int64 (N,), indices of values; see `models.data.conditions`

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Pictures":
        return self._changed(self.x[index], lambda values: values[index])

    def to(self, device: torch.device) -> "Pictures":
        """Return a copy on a device."""
        return self._changed(self.x.to(device), lambda values: values.to(device))

    def permute(self, order: Tensor) -> "Pictures":
        """Return the pictures in another order, (N,). Their pixels are moved in place, so `self` must not be used again."""
        permute_rows(self.x.numpy(), order.tolist())
        return self._changed(self.x, lambda values: values[order])

    def _changed(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> "Pictures":
        own = (self.labels, self.place, self.groups, self.condition)
        labels, place, groups, condition = (None if one is None else change(one) for one in own)
        return Pictures(x, labels, {name: change(values) for name, values in self.factors.items()}, place, groups, condition)


@dataclass(frozen=True)
class Splits:
    """Training and test pictures of one data set, and its validation pictures if it has such a split of its own.

    `preprocessing` is how the pictures were prepared (None: they were bytes of one size), `summary` has lines about what was
    found, inferred and left out, and `classes` the names of the labels 0, 1, ... if they have names.
    """

    train: Pictures
    test: Pictures
    validation: Pictures | None = None
    preprocessing: Preprocessing | None = None
    summary: list[str] = field(default_factory=list)
    classes: list[str] | None = None


# SHA-256 of each file, and addresses of the data sets' authors (for MNIST, of PyTorch).
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
IDX_FILES = {
    "mnist": (
        MNIST_MIRRORS,
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": (
        FASHION_MIRRORS,
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}
# Names of a data set's labels; labels without names are shown as numbers.
CLASSES = {
    "fashion-mnist": ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
}
# Composed from the sheets of the Liberated Pixel Cup: every combination of the factors once.
SPRITES = "lpc-sprites"
SPRITES_FILE = "lpc_sprites_64x64.npz"
SPRITES_FACTORS = ("body", "bottomwear", "topwear", "hair", "action", "direction")
SPRITES_GROUPS = "character"
# How pictures are held out, for the lines about splits.
HOW: Mapping[HoldOut, str] = {"random": "", "blocks": ", in blocks of neighbours", "group": ", whole groups"}
WHOLE_CLASSES = (
    "warning: each group is a whole class, so the classes of validation and test are never trained on; put a folder per "
    "person (or other source) into each class, or give such groups as an array"
)


def load_data(name: str, data_dir: Path, folder: FolderOptions | None = None, mirror: str | None = None) -> Splits:
    """Load a data set by name. Raises DataError with the reason.

    `mnist` and `fashion-mnist` are read from `data_dir`/<name>/, and downloaded if missing (from `mirror`, if given).
    `lpc-sprites` is `data_dir`/lpc-sprites/lpc_sprites_64x64.npz, which cannot be downloaded.
    `folder:PATH` and `npz:PATH` (npz, npy or IDX) have the splits that their folders or arrays name. Without a test split,
    one tenth of the training pictures becomes it, always the same ones.
    """
    kind, _, rest = name.partition(":")
    options = folder or FolderOptions()
    if kind == "folder" and rest:
        if (path := expanded(rest)).is_file():
            raise DataError(f"{shown(path)} is a file, not a folder; {advice(path)}")
        return split(read_folder(path, options), options.hold_out, options.validation)
    if kind == "npz" and rest:
        if (path := expanded(rest)).is_dir():
            raise DataError(f"{shown(path)} is a folder, not a file of arrays; {advice(path)}")
        return split(read_arrays(path, options), options.hold_out, options.validation)
    if name in IDX_FILES:
        mirrors, checksums = IDX_FILES[name]
        files = {
            file: ensure_file(data_dir / name / file, (mirror,) if mirror else mirrors, checksum)
            for file, checksum in checksums.items()
        }
        train, test = (
            Pictures(
                torch.from_numpy(read_idx(files[f"{part}-images-idx3-ubyte.gz"], 3)[:, None]),
                torch.from_numpy(read_idx(files[f"{part}-labels-idx1-ubyte.gz"], 1).astype(np.int64)),
            )
            for part in ("train", "t10k")
        )
        return Splits(train, test)
    if name == SPRITES:
        found = read_arrays(data_dir / SPRITES / SPRITES_FILE, options, SPRITES_FACTORS, SPRITES_GROUPS)
        return split(found, options.hold_out, options.validation)
    known = f"known: {', '.join(IDX_FILES)}, {SPRITES}, folder:PATH, npz:PATH"
    path = expanded(rest if kind in ("folder", "npz") else name)
    hint = ""
    if name and path.exists():
        hint = f"; it is a {'folder' if path.is_dir() else 'file'}: {advice(path)}"
    elif "/" in name:
        hint = f"; there is no file or folder {shown(path)} either"
    raise DataError(f"unknown data set {shown(name)!r}; {known}{hint}")


def class_names(recorded: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the names of the labels of a checkpoint's data, which its config.json records; None if they have no names."""
    classes = recorded.get("classes")
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        return classes
    name = recorded.get("name")
    return CLASSES.get(name) if isinstance(name, str) else None


def advice(path: Path) -> str:
    """Return what to give to --data for a path of the user."""
    if path.is_dir():
        return f"use --data folder:{shown(path)}"
    if path.suffix.lower() in SUFFIXES:
        return f"use --data folder:{shown(path.parent)} for the folder of this picture"
    if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") and "idx" not in path.name:
        return "unpack it, and use --data folder:PATH with the folder"
    return f"use --data npz:{shown(path)} if it is a file of arrays (npz, npy or IDX)"


def split(found: Found, kind: HoldOut = "random", share: float | None = None) -> Splits:
    """Divide what was read into its splits, in place. Without a test split, one tenth of the training pictures is one.

    `kind` says how that tenth is chosen; see `models.readers.holding_out`. Blocks and groups for validation, a `share` of the
    pictures, are chosen together with it, so that both are alike.
    """
    names = found.splits or [TRAIN] * len(found.x)
    rows: dict[str, list[int]] = {
        part: [i for i, name in enumerate(names) if name == part] for part in (TRAIN, TEST, VALIDATION)
    }
    groups = None if found.groups is None else torch.from_numpy(found.groups.numbers)
    lines = list(found.summary)
    where = lines[0].partition(": ")[0] if lines else "the data set"
    if not rows[TRAIN]:
        there = " and ".join(f"a {part} split" for part, own in rows.items() if own)
        raise DataError(f"{where}: has only {there}, so there is nothing to train on; give its folder to use it anyway")
    if kind == "group":
        lines += _group_lines(found, rows)
    how, left = " (as the data set has them)", list[int]()
    if not rows[TEST]:
        count = len(rows[TRAIN])
        if count < 10:
            raise DataError(f"{where}: only {plural(count, 'picture')}: at least 10 are needed for training and test splits")
        own = torch.tensor(rows[TRAIN])
        wanted, named = {TEST: count // 10}, None if groups is None else groups[own]
        if kind == "group":
            wanted[TEST] = enough_groups(named, count // 10)
        if kind == "random" or rows[VALIDATION]:
            kept, *held_out = hold_out_rows(count, wanted[TEST], kind, 0, None, named)
        else:
            wanted[VALIDATION] = held_out_count(count, share, kind, named)
            kept, *held_out = holding_out.hold_out_both(count, wanted[TEST], wanted[VALIDATION], kind, named)
        rows[TRAIN] = own[kept].tolist()
        rows |= {part: own[some].tolist() for part, some in zip(wanted, held_out, strict=True)}
        left = sorted(set(own.tolist()).difference(rows[TRAIN], *(rows[part] for part in wanted)))
        how = f" (a tenth of the training pictures is held out as test{HOW[kind]})"
        if kind != "random":
            how = f" (held out of {count:,} pictures: {' and '.join(wanted)}{HOW[kind]})"
        if kind == "group":
            lines += [line for part in wanted for line in share_lines(part, len(rows[part]), wanted[part], count)]
        if kind == "blocks":
            lines.append(block_line(list(wanted), count, max(wanted.values())))
        if VALIDATION in wanted and share is None:
            lines.append(f"validation: as many as for the test, drawn alike, {holding_out.WHY_MANY}")
    order = torch.tensor(rows[TRAIN] + rows[TEST] + rows[VALIDATION] + left)
    whole = Pictures(
        torch.from_numpy(found.x),
        None if found.labels is None else torch.from_numpy(found.labels),
        {name: torch.from_numpy(values) for name, values in found.factors.items()},
        torch.arange(len(found.x)),
        groups,
    ).permute(order)
    first, second = len(rows[TRAIN]), len(rows[TRAIN]) + len(rows[TEST])
    third = second + len(rows[VALIDATION])
    counts = [f"{part} {len(own):,}" for part, own in rows.items() if own]
    counts += [f"left out beside the blocks {len(left):,}"] if left else []
    lines += copy_lines(found.x, rows)
    lines.insert(1, f"splits: {', '.join(counts)}{how}")
    validation = whole[second:third] if rows[VALIDATION] else None
    return Splits(whole[:first], whole[first:second], validation, found.preprocessing, lines, found.classes)


def _group_lines(found: Found, rows: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a warning if the groups to be held out are whole classes. Raises DataError if there are too few of them."""
    missing = [part for part in (VALIDATION, TEST) if not rows[part]]
    if found.groups is None or not missing:
        return []
    own = found.groups.numbers[rows[TRAIN]]
    holding_out.check_groups([found.groups.names[i] for i in np.unique(own)], ["training", *missing])
    if found.labels is None:
        return []
    pairs = set(zip(own.tolist(), (labels := found.labels[rows[TRAIN]]).tolist(), strict=True))
    return [WHOLE_CLASSES] if len(pairs) == len(np.unique(own)) == len(np.unique(labels)) else []


def rows_of(pictures: Pictures, share: float | None, seed: int, kind: HoldOut = "random") -> tuple[Tensor, Tensor]:
    """Return the rows to train on, and those that are held out: the validation share, at least one picture.

    The seed chooses them as it does in training; `kind`: see `models.readers.holding_out`. Raises DataError.
    """
    wanted = held_out_count(len(pictures), share, kind, pictures.groups)
    return hold_out_rows(len(pictures), wanted, kind, seed, pictures.place, pictures.groups)


def hold_out(
    pictures: Pictures, share: float | None, seed: int, in_place: bool = False, kind: HoldOut = "random"
) -> tuple[Pictures, Pictures]:
    """Return (training, validation), the pictures of `rows_of`.

    `in_place` sorts the pictures themselves, which the caller then no longer has, instead of copying them.
    """
    training, held_out = rows_of(pictures, share, seed, kind)
    if pictures.place is None:
        pictures = replace(pictures, place=torch.arange(len(pictures)))
    if not in_place:
        return pictures[training], pictures[held_out]
    left = torch.ones(len(pictures), dtype=torch.bool)
    left[torch.cat([training, held_out])] = False
    whole = pictures.permute(torch.cat([held_out, training, left.nonzero().flatten()]))
    return whole[len(held_out) : len(held_out) + len(training)], whole[: len(held_out)]
