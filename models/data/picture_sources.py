"""Read data sets of pictures: mnist, fashion-mnist, lpc-sprites, folders of pictures, and arrays.

Knows nothing of models or objectives. `models.readers` reads folders and arrays, and downloads files.
"""

from pathlib import Path

import numpy as np
import torch

from models.data.items import Items, Splits
from models.data.packing import from_file, packed
from models.data.splitting import split
from models.readers.arrays import read_arrays
from models.readers.download import DataError, ensure_file
from models.readers.folder import FolderOptions, read_folder
from models.readers.formats import SUFFIXES
from models.readers.idx import read_idx
from models.readers.path_names import expanded, shown
from models.readers.read_options import ReadOptions

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


def read_idx_set(name: str, data_dir: Path, _options: ReadOptions | None, mirror: str | None) -> Splits:
    """Read `data_dir`/<name>/, whose files are downloaded if they are missing (from `mirror`, if given)."""
    mirrors, checksums = IDX_FILES[name]
    files = {
        file: ensure_file(data_dir / name / file, (mirror,) if mirror else mirrors, checksum)
        for file, checksum in checksums.items()
    }
    train, test = (
        Items(
            torch.from_numpy(read_idx(files[f"{part}-images-idx3-ubyte.gz"], 3)[:, None]),
            torch.from_numpy(read_idx(files[f"{part}-labels-idx1-ubyte.gz"], 1).astype(np.int64)),
        )
        for part in ("train", "t10k")
    )
    return Splits(train, test)


def read_sprites(_name: str, data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read `data_dir`/lpc-sprites/lpc_sprites_64x64.npz, which cannot be downloaded."""
    own = _of_folders(options)
    found = read_arrays(data_dir / SPRITES / SPRITES_FILE, own, SPRITES_FACTORS, SPRITES_GROUPS)
    return split(found, own.hold_out, own.validation)


def read_pictures(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read a folder of pictures, with the splits that its folders name."""
    if (path := expanded(rest)).is_file():
        raise DataError(f"{shown(path)} is a file, not a folder; {advice(path)}")
    own = _of_folders(options)
    return split(packed(path, own, read_folder), own.hold_out, own.validation)


def read_npz(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read a file of arrays (npz, npy or IDX), with the splits that the arrays name."""
    if (path := expanded(rest)).is_dir():
        raise DataError(f"{shown(path)} is a folder, not a file of arrays; {advice(path)}")
    own = _of_folders(options)
    return split(packed(path, own, read_arrays), own.hold_out, own.validation)


def read_packed(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read a file that `--pack` made."""
    own = _of_folders(options)
    path = expanded(rest)
    if not path.exists() and not path.is_symlink():
        raise DataError(f"{shown(path)}: no such file; make it with --data folder:PATH --pack {shown(path)}")
    return split(from_file(path, own), own.hold_out, own.validation)


def _of_folders(options: ReadOptions | None) -> FolderOptions:
    if options is None:
        return FolderOptions()
    if not isinstance(options, FolderOptions):
        raise TypeError(f"pictures are read with FolderOptions, not {type(options).__name__}")
    return options


def advice(path: Path) -> str:
    """Return what to give to --data for a path of the user."""
    if path.is_dir():
        return f"use --data folder:{shown(path)}"
    if path.suffix.lower() in SUFFIXES:
        return f"use --data folder:{shown(path.parent)} for the folder of this picture"
    if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") and "idx" not in path.name:
        return "unpack it, and use --data folder:PATH with the folder"
    return f"use --data npz:{shown(path)} if it is a file of arrays (npz, npy or IDX)"
