"""Load data sets by name into memory as uint8 pictures: mnist, fashion-mnist, lpc-sprites, folder:PATH, npz:PATH.

Knows nothing of models or objectives. `models.readers.download` downloads files, and `models.readers.folder` reads
folders of pictures.
"""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.files.regular_file import NotRegular, open_regular, read_regular
from models.readers.download import DataError, ensure_file
from models.readers.folder import FolderOptions, read_folder


@dataclass(frozen=True)
class Pictures:
    """Pictures as bytes, with class labels and generative factors if the data set has them."""

    x: Tensor  # uint8 (N, C, H, W)
    labels: Tensor | None = None  # int64 (N,)
    factors: Mapping[str, Tensor] = field(default_factory=dict)  # name -> int64 (N,)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Pictures":
        factors = {name: values[index] for name, values in self.factors.items()}
        return Pictures(self.x[index], None if self.labels is None else self.labels[index], factors)

    def to(self, device: torch.device) -> "Pictures":
        """Return a copy on a device."""
        factors = {name: values.to(device) for name, values in self.factors.items()}
        return Pictures(self.x.to(device), None if self.labels is None else self.labels.to(device), factors)


@dataclass(frozen=True)
class Splits:
    """Training and test pictures of one data set."""

    train: Pictures
    test: Pictures


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
# Composed from the sheets of the Liberated Pixel Cup: every combination of the factors once. `_load_npz` has the format.
SPRITES = "lpc-sprites"
SPRITES_FILE = "lpc_sprites_64x64.npz"
SPRITES_FACTORS = ("body", "bottomwear", "topwear", "hair", "action", "direction")


def load_data(name: str, data_dir: Path, folder: FolderOptions | None = None, mirror: str | None = None) -> Splits:
    """Load a data set by name. Raises DataError with the reason.

    `mnist` and `fashion-mnist` are read from `data_dir`/<name>/, and downloaded if missing (from `mirror`, if given).
    `lpc-sprites` is `data_dir`/lpc-sprites/lpc_sprites_64x64.npz, which cannot be downloaded.
    `folder:PATH` and `npz:PATH` are shuffled in a fixed order, and one tenth becomes the test split.
    """
    kind, _, path = name.partition(":")
    if kind == "folder" and path:
        return _split(Pictures(*read_folder(Path(path), folder or FolderOptions())))
    if kind == "npz" and path:
        return _load_npz(Path(path))
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
        return _load_npz(data_dir / SPRITES / SPRITES_FILE, SPRITES_FACTORS)
    raise DataError(f"unknown data set {name!r}; known: {', '.join(IDX_FILES)}, {SPRITES}, folder:PATH, npz:PATH")


def hold_out(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Return (training, validation). The seed chooses the validation share, at least one picture, as it does in training."""
    held_out = max(1, round(len(pictures) * share))
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
    return pictures[order[held_out:]], pictures[order[:held_out]]


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of bytes (LeCun's format: zeros, type 8, number of dimensions, sizes). Raises DataError."""
    try:
        content = gzip.decompress(read_regular(path))
    except NotRegular as error:
        raise DataError(f"{path} {error.strerror}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); delete it to download it again") from None
    header = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise DataError(f"{path}: not an IDX file of bytes with {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(sizes) or not math.prod(sizes):
        raise DataError(f"{path}: has {len(content) - header} bytes of data, but its header says {sizes}")
    return np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(sizes)


def _load_npz(path: Path, names: Sequence[str] = ()) -> Splits:
    """Read `images`, uint8 (N, H, W) or (N, H, W, C), and optionally `labels` (N,) and `is_train` (N,). Raises DataError.

    Every other array of integers (N,) is a factor; if `names` is given, only those with these names.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file), np.load(file, allow_pickle=False) as archive:
            images, labels, is_train = archive["images"], archive.get("labels"), archive.get("is_train")
            others = [name for name in archive.files if name not in ("images", "labels", "is_train")]
            arrays = {name: archive[name] for name in names or others}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except NotRegular as error:
        raise DataError(f"{path} {error.strerror}") from None
    except MemoryError as error:
        raise DataError(f"{path}: an array is too large for this machine's memory: {error}") from None
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an npz file with an array 'images': {error}") from None
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise DataError(
            f"{path}: images is {images.dtype} {images.shape}, should be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        )
    count = images.shape[:1]
    if labels is not None and (labels.shape != count or not np.issubdtype(labels.dtype, np.integer)):
        raise DataError(f"{path}: labels is {labels.dtype} {labels.shape}, should be integers ({len(images)},)")
    found = {name: v for name, v in arrays.items() if v.shape == count and np.issubdtype(v.dtype, np.integer)}
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    y = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    pictures = Pictures(x, y, {name: torch.from_numpy(found[name].astype(np.int64)) for name in found})
    if is_train is None or is_train.shape != count:  # Some data sets have one entry per group of pictures.
        return _split(pictures)
    train = torch.from_numpy(is_train.astype(bool))
    if train.all() or not train.any():
        raise DataError(f"{path}: is_train puts all pictures into one split; it must be true for some and false for others")
    return Splits(pictures[train], pictures[~train])


def _split(pictures: Pictures) -> Splits:
    """Split off one tenth as the test split, always the same pictures."""
    if len(pictures) < 10:
        raise DataError(f"only {len(pictures)} pictures: at least 10 are needed for training and test splits")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    test = len(pictures) // 10
    return Splits(pictures[order[test:]], pictures[order[:test]])
