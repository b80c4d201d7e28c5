"""What the names of folders say: splits (train, test, val) and classes. Knows nothing of what is in the files.

A first level of train and test (and val) is one of splits, with the classes below. Any other first level is one of classes; if
all folders below are splits (cat/train, cat/test), these are the splits. Folders that could be both are refused. Names that
look like splits or annotations, but are not read as such, get a warning.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.readers.download import DataError
from models.readers.formats import FORMAT_NAMES
from models.readers.left_out import LeftOut, counted, listed, plural
from models.readers.path_names import shown

TRAIN, TEST, VALIDATION = "train", "test", "validation"
WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
}
SPLITS = {word + end: split for word, split in WORDS.items() for end in ("", "set", "_set")}
FEW = 10  # Fewer pictures may each be of another class.
LOOSE = "pictures outside of the splits"
# A name looks like a split if it has one of the first words, and otherwise only words of the second kind: train_images2017.
SPLIT_WORDS = {**SPLITS, **dict.fromkeys(("eval", "evaluation", "holdout", "heldout"), TEST)}
# Names of different splits beside each other look like splits with any other words, short endings, or abbreviated: testA, tr.
SHORT = {"tr": TRAIN, "te": TEST}
ENDING = 3
IMAGE_WORDS = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"}
OTHER_WORDS = IMAGE_WORDS | {"data", "dataset", "set", "split", "new", "old", "final", "hold", "held", "out"}
ANNOTATION_WORDS = {"mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations"}


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


def arrange(
    root: Path, paths: Sequence[Path], left_out: LeftOut | None = None, unread: Mapping[Path, Sequence[str]] | None = None
) -> Layout:
    """Return splits and classes of files, from their paths relative to `root`. Raises DataError if they are ambiguous.

    `left_out` counts the files that belong to no split, if the caller leaves them out. `unread` has folders with what cannot
    be read in them: a split with nothing else is refused.
    """
    inner = _repeated({path.parts[:-1] for path in paths})
    folders = [_without(inner, path.parts[:-1]) for path in paths]
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
                f"{shown(root)}: {plural(sum(loose), 'picture')} beside the folder {shown(sorted(known)[0])}/, a split; "
                "move all of them into a folder train/, or give the folder that you mean"
            )
        if left_out is not None:
            for path, is_loose in zip(paths, loose, strict=True):
                if is_loose:
                    left_out.add(LOOSE, shown(path))
        for folder, reasons in (unread or {}).items():
            parts = _without(inner, folder.parts)
            name = parts[depth] if parts[:depth] == folders[0][:depth] and len(parts) > depth else ""
            if split_of(name) and name not in below:
                raise DataError(
                    f"{shown(root)}: the folder {shown(name)}/ is a split, but nothing in it can be read "
                    f"({'; '.join(reasons)}); put pictures into it ({FORMAT_NAMES}), or move it away"
                )
        layout = Layout([below.get(first) for first in firsts], list(seconds), [not one for one in loose])
    elif known and (len(known) > 1 or not has_train):  # Only "train" is a usual name of a class.
        others = [f"{shown(name)}/" for name in below if name not in known]
        raise DataError(
            f"{shown(root)}: {listed([f'{shown(name)}/' for name in sorted(known)])} beside {listed(others)}: it is not clear "
            "which folders are splits and which are classes; put the classes into train/ and test/, or move the rest away"
        )
    elif len(splits := {split_of(second) for second in seconds}) > 1 and None not in splits and all(firsts):
        layout = Layout([split_of(second) for second in seconds], list(firsts), [True] * len(paths))
        named = listed([f"{shown(name)}/" for name in sorted(set(seconds))])
        layout.remarks.append(f"the folders {named} within the classes are read as splits")
    else:
        layout = Layout([None] * len(paths), list(firsts), [True] * len(paths))
    if inner:
        layout.remarks.append(f"folders with the name of the folder around them say nothing: {_listed(sorted(inner))}")
    _keep_classes(layout, paths)
    layout.remarks += _odd_folders(set(folders), depth, layout)
    return layout


def _odd_folders(folders: set[tuple[str, ...]], depth: int, layout: Layout) -> list[str]:
    """Return warnings about names that look like splits but are none, and about images beside masks or labels."""
    lines = []
    all_folders = sorted({parts[:end] for parts in folders for end in range(depth + 1, len(parts) + 1)})
    classes = set(layout.labels) - {None}
    siblings: dict[tuple[str, ...], list[str]] = {}
    for parts in all_folders:
        siblings.setdefault(parts[:-1], []).append(parts[-1])
    alike = [parts for parts in all_folders
             if _looks_like_split(parts[-1]) or (_split_word(parts[-1]) and _are_splits(siblings[parts[:-1]]))]  # fmt: skip
    if alike and not any(layout.splits):
        what = "classes" if any(parts[-1] in classes for parts in alike) else "plain folders"
        lines.append(
            f"warning: names that look like splits are taken as {what}: {_listed(alike)}; "
            "for splits, put all pictures into folders train, test and val"
        )
    with_images = {parts[:-1] for parts in all_folders if not IMAGE_WORDS.isdisjoint(_words(parts[-1]))}
    beside = [parts for parts in all_folders
              if parts[:-1] in with_images and not ANNOTATION_WORDS.isdisjoint(_words(parts[-1]))]  # fmt: skip
    if beside:
        what = "taken as classes" if any(parts[-1] in classes for parts in beside) else "read as pictures"
        lines.append(
            f"warning: masks or labels beside images are {what}: {_listed(beside)}; "
            "to learn the images only, give their folder, or move the others away"
        )
    return lines


def _listed(folders: Sequence[tuple[str, ...]]) -> str:
    return listed([f"{shown('/'.join(parts))}/" for parts in folders])


def _words(name: str) -> list[str]:
    """Return the words of a name: "testImages-2" -> test, images."""
    return [word for word in re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()) if word]


def _looks_like_split(name: str) -> bool:
    words = _words(name)
    named = [word for word in (*words, "".join(words)) if word in SPLIT_WORDS]
    return bool(named) and all(word in SPLIT_WORDS or word in OTHER_WORDS for word in words)


def _split_word(name: str) -> tuple[str, str] | None:
    """Return the split that a word of a name mentions, perhaps with a short ending, and the other words: test_dir, trainA."""
    words = _words(name)
    for i, word in enumerate(words):
        for known, split in {**SPLIT_WORDS, **SHORT}.items():
            if word == known or (known in WORDS and word.startswith(known) and len(word) <= len(known) + ENDING):
                return split, " ".join(words[:i] + words[i + 1 :])
    return None


def _are_splits(names: Sequence[str]) -> bool:
    """Return whether folders beside each other look like splits.

    They do if more than half of them mention one, and not all the same, or if two differ only in it.
    """
    found = [one for name in names if (one := _split_word(name))]
    if 2 * len(found) > len(names) and len({split for split, _ in found}) > 1:
        return True
    others = [words for _, words in set(found) if words]
    return len(set(others)) < len(others)


def _repeated(folders: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the folders that have the name of the folder around them, and are all there is in it, as archives have it."""
    inside: dict[tuple[str, ...], set[str]] = {}
    for parts in folders:
        for end in range(len(parts) + 1):
            inside.setdefault(parts[:end], set()).add(parts[end] if end < len(parts) else "")
    return {(*outer, name) for outer, names in inside.items() for name in names if outer[-1:] == (name,) and len(names) == 1}


def _without(inner: set[tuple[str, ...]], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return a folder's path without the folders of which `inner` has the paths."""
    return tuple(part for i, part in enumerate(parts) if parts[: i + 1] not in inner)


def _keep_classes(layout: Layout, paths: Sequence[Path]) -> None:
    """Keep the labels if every picture has one, and there are at least two classes; remark on what is odd."""
    names = [label for label, kept in zip(layout.labels, layout.kept, strict=True) if kept]
    classes = sorted({name for name in names if name})
    kept = [path for path, is_kept in zip(paths, layout.kept, strict=True) if is_kept]
    without = [shown(path) for path, name in zip(kept, names, strict=True) if not name]
    if without or len(classes) < 2:
        if len(classes) > 1:
            of = f"{len(without):,} of {plural(len(names), 'picture')}"
            layout.remarks.append(f"no classes are used: {of} lie in no folder of a class ({listed(without)})")
        layout.labels = [None] * len(layout.labels)
        return
    if any(layout.splits):
        parts = {split: {label for label, own in zip(layout.labels, layout.splits, strict=True) if own == split}
                 for split in dict.fromkeys(layout.splits) if split}  # fmt: skip
        odd = Counter(name for part in parts.values() for name in part if name)
        partly = [shown(name) for name in classes if odd[name] < len(parts)]
        if partly:
            layout.remarks.append(f"warning: not every split has the classes {listed(partly)}")


def class_lines(labels: Sequence[str]) -> list[str]:
    """Return the classes with their counts, in sorted order, and warnings about names that are hardly meant."""
    counts = Counter(labels)
    names = sorted(counts)
    lines = [f"{plural(len(counts), 'class', 'classes')}: " + counted({shown(name): counts[name] for name in names})]
    lines += one_each_lines(len(counts), len(labels))
    if empty := sum(counts[name] for name in names if not name.strip()):
        lines.append(f"warning: the class of {plural(empty, 'picture')} has an empty name")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(unicodedata.normalize("NFC", name).split()), []).append(ascii(name))
    for same in alike.values():
        if len(same) > 1:
            lines.append(f"warning: names that look equal are different classes: {listed(same)}; give them one name")
    return lines


def one_each_lines(labels: int, pictures: int) -> list[str]:
    """Return a warning if there are as many labels as pictures: numbers of pictures, not classes."""
    if labels < pictures or pictures < FEW:
        return []
    return ["warning: each picture has a label of its own, so the labels are no classes"]
