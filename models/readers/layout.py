"""What the names of folders say: splits (train, test, val) and classes. Knows nothing of what is in the files.

A first level of train and test (and val) is one of splits, with the classes below. Any other first level is one of classes; if
all folders below are splits (cat/train, cat/test), these are the splits. Folders that could be both are refused.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.readers.download import DataError
from models.readers.left_out import LeftOut, counted, listed
from models.readers.path_names import shown

TRAIN, TEST, VALIDATION = "train", "test", "validation"
SPLITS = {
    **dict.fromkeys(("train", "training", "train_set", "trainset"), TRAIN),
    **dict.fromkeys(("test", "testing", "test_set", "testset"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "dev"), VALIDATION),
}
LOOSE = "pictures outside of the splits"


@dataclass
class Layout:
    """Split and class of each file, None where there is none, with remarks. Files whose `kept` is false are left out."""

    splits: list[str | None]
    labels: list[str | None]
    kept: list[bool]
    remarks: list[str] = field(default_factory=list)


def split_of(name: str) -> str | None:
    """Return the split that a folder's or an array's name stands for."""
    return SPLITS.get(name.lower())


def arrange(root: Path, paths: Sequence[Path], left_out: LeftOut | None = None) -> Layout:
    """Return splits and classes of files, from their paths relative to `root`. Raises DataError if they are ambiguous.

    `left_out` counts the files that belong to no split, if the caller leaves them out.
    """
    folders = [path.parts[:-1] for path in paths]
    # A folder that holds nothing but one other folder, as archives have it, says nothing, unless it names a split.
    depth = 0
    while len(names := {parts[depth] if len(parts) > depth else "" for parts in folders}) == 1 and (
        (only := names.pop()) and split_of(only) is None
    ):
        depth += 1
    firsts = [parts[depth] if len(parts) > depth else "" for parts in folders]
    seconds = [parts[depth + 1] if len(parts) > depth + 1 else "" for parts in folders]
    below = {name: split_of(name) for name in sorted(set(firsts)) if name}
    known = {name for name, split in below.items() if split}
    has_train = TRAIN in below.values()
    if known and len(known) == len(below):
        loose = [not first for first in firsts]
        if any(loose) and not has_train:
            raise DataError(
                f"{shown(root)}: pictures ({sum(loose)}) lie beside the folder {shown(sorted(known)[0])}/, a split; "
                "move them into a folder train/, or give the folder that you mean"
            )
        for path, is_loose in zip(paths, loose, strict=True):
            if is_loose and left_out is not None:
                left_out.add(LOOSE, shown(path))
        layout = Layout([below.get(first) for first in firsts], list(seconds), [not one for one in loose])
    elif known and (len(known) > 1 or not has_train):  # Only "train" is a usual name of a class.
        others = [f"{shown(name)}/" for name in below if name not in known]
        raise DataError(
            f"{shown(root)}: {listed([f'{shown(name)}/' for name in sorted(known)])} beside {listed(others)}: it is not clear "
            "which folders are splits and which are classes; put the classes into train/ and test/, or move the rest away"
        )
    elif len(splits := {split_of(second) for second in seconds}) > 1 and None not in splits and all(firsts):
        layout = Layout([split_of(second) for second in seconds], list(firsts), [True] * len(paths))
    else:
        layout = Layout([None] * len(paths), list(firsts), [True] * len(paths))
    _keep_classes(layout)
    return layout


def _keep_classes(layout: Layout) -> None:
    """Keep the labels if every picture has one, and there are at least two classes; remark on what is odd."""
    names = [label for label, kept in zip(layout.labels, layout.kept, strict=True) if kept]
    classes = sorted({name for name in names if name})
    without = sum(not name for name in names)
    if without or len(classes) < 2:
        if len(classes) > 1:
            layout.remarks.append(f"no classes are used: {without} of {len(names)} pictures lie in no folder of a class")
        layout.labels = [None] * len(layout.labels)
        return
    if any(layout.splits):
        parts = {split: {label for label, own in zip(layout.labels, layout.splits, strict=True) if own == split}
                 for split in dict.fromkeys(layout.splits) if split}  # fmt: skip
        odd = Counter(name for part in parts.values() for name in part if name)
        partly = [shown(name) for name in classes if odd[name] < len(parts)]
        if partly:
            layout.remarks.append(f"warning: not every split has the classes {listed(partly)}")


def class_line(labels: Sequence[str]) -> str:
    """Return the classes with their counts, in sorted order."""
    counts = Counter(labels)
    return f"{len(counts)} classes: " + counted({shown(name): counts[name] for name in sorted(counts)})
