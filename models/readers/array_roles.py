"""Decide from names, shapes and types which arrays are pictures, labels and splits. Knows nothing of files.

Where the meaning is not clear, the error lists the arrays and says what would be right.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.readers.array_files import Stored
from models.readers.download import DataError
from models.readers.layout import TRAIN, split_of

# Words for pictures in the order of preference, and words for labels.
IMAGES = ("images", "image", "x", "imgs", "img", "pictures", "data", "features", "pixels", "array", "arr 0", "")
LABELS = ("labels", "label", "y", "targets", "target", "class", "classes", "arr 1")
IS_TRAIN, SPLIT = "is_train", "split"
RIGHT = (
    "give pictures as `images` (N, H, W), (N, H, W, C) or (N, C, H, W), with `labels` (N,) if there are any, or as x_train, "
    "y_train, x_test, y_test"
)


@dataclass
class Part:
    """The pictures of one split (None: of all), with their labels."""

    split: str | None
    images: Stored
    labels: Stored | None = None


@dataclass
class Roles:
    """The parts of a data set, training first, and the arrays that are left."""

    parts: list[Part]
    others: dict[str, Stored] = field(default_factory=dict)


def choose_roles(name: str, arrays: Mapping[str, Stored]) -> Roles:
    """Return what the arrays are. `name` is that of the file, for messages. Raises DataError."""
    words = {key: _words(key) for key in arrays}
    images: dict[str | None, Stored] = {}
    labels: dict[str | None, Stored] = {}
    for word in IMAGES:
        for key, (split, kind) in words.items():
            if kind == word and split not in images and _may_be_pictures(arrays[key]):
                images[split] = arrays[key]
    for word in LABELS:
        for key, (split, kind) in words.items():
            if kind == word and arrays[key] is not images.get(split):
                labels.setdefault(split, arrays[key])
    if None in images and len(images) > 1:  # Pictures with splits are preferred, if there are any to train on.
        images = {split: array for split, array in images.items() if (split is None) != (TRAIN in images)}
    if not images:
        candidates = [array for array in arrays.values() if len(array.shape) in (3, 4) and _may_be_pictures(array)]
        if len(candidates) != 1:
            named = [array for key, array in arrays.items() if words[key][1] in IMAGES]
            found = "several arrays that may be pictures" if candidates else "no array of pictures"
            if named and named[0].dtype.hasobject:
                found = f"an array '{named[0].name}' of Python objects, which are not read; stack the pictures into one array"
            raise DataError(f"{name}: {found}; it has {listing(arrays)}; {RIGHT}")
        images = {None: candidates[0]}
    if TRAIN not in images and set(images) != {None}:
        raise DataError(f"{name}: has no training pictures; it has {listing(arrays)}; {RIGHT}")
    parts = [Part(split, images[split], labels.get(split)) for split in sorted(images, key=lambda s: (s != TRAIN, str(s)))]
    used = {array.name for part in parts for array in (part.images, part.labels) if array is not None}
    return Roles(parts, {key: array for key, array in arrays.items() if key not in used})


def listing(arrays: Mapping[str, Stored]) -> str:
    """Return names, types and shapes of arrays for a message."""
    return ", ".join(str(array) for array in list(arrays.values())[:12]) + (", ..." if len(arrays) > 12 else "")


def _words(key: str) -> tuple[str | None, str]:
    """Return the split that a name mentions, and the rest: "x_train" -> (train, x), "val_images" -> (validation, images)."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)  # trainImages
    text = re.sub(r"^([xXyY])(?=(train|test|val|valid)$)", r"\1_", text).lower()  # Xtrain
    words = [word for word in re.split(r"[\s_.\-/]+", text) if word]
    splits = [word for word in words if split_of(word)]
    if len(splits) != 1:
        return None, " ".join(words)
    return split_of(splits[0]), " ".join(word for word in words if word != splits[0])


def _may_be_pictures(array: Stored) -> bool:
    return array.dtype.kind in "buif" and len(array.shape) in (2, 3, 4)
