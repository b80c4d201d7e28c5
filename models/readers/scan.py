"""Find the picture files of a folder, nested to any depth. Hidden and other files, and loops of links, are counted.

Knows nothing of what is in the files.
"""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from models.readers.download import DataError
from models.readers.formats import FORMAT_NAMES, SUFFIXES
from models.readers.left_out import EXAMPLES, LeftOut
from models.readers.path_names import shown

# Folders and files that desktops, archives and network drives add. Names that begin with a dot are hidden anyway.
SYSTEM = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
HIDDEN = "hidden or system files"
ARRAYS = (".npz", ".npy")

Identity = tuple[int, int]  # device and inode


@dataclass
class Scan:
    """The picture files below a folder, sorted by path, and what was left out. `arrays` are npz and npy files among that.

    `unread` has the first things in each folder that cannot be read, with the reasons; paths are relative.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    arrays: list[Path] = field(default_factory=list)
    unread: dict[Path, list[str]] = field(default_factory=dict)

    @cached_property
    def relative(self) -> list[Path]:
        """The paths relative to the folder."""
        start = len(str(self.root / "x")) - 1  # `Path.relative_to` takes twice as long
        return [Path(str(file)[start:]) for file in self.files]


def scan(root: Path) -> Scan:
    """Return the pictures below a folder. Links are followed; each folder is read once. Raises DataError if there are none."""
    try:
        real = os.stat(root)
    except OSError as error:
        raise DataError(f"{shown(root)}: no such folder ({error.strerror})") from None
    if not root.is_dir():
        raise DataError(f"{shown(root)}: not a folder")
    walk = _Walk(root, (real.st_dev, real.st_ino))
    walk.all()
    found = walk.found
    found.files.sort(key=_parts)
    if not found.files:
        there = "; ".join(found.left_out.lines()) or "it is empty"
        file = shown(found.arrays[0]) if found.arrays else ""
        advice = f"; to read its arrays, give the file {file} (in training and evaluation as npz:{file})" if file else ""
        raise DataError(f"{shown(root)}: contains no pictures ({FORMAT_NAMES}); {there}{advice}")
    return found


def _parts(path: Path) -> tuple[str, ...]:
    """Return what paths are sorted by: to compare paths themselves takes several times as long."""
    return path.parts


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is one that no person put there as data."""
    return name.startswith(".") or name.lower() in SYSTEM


class _Walk:
    """Reads real folders first and links afterwards, so that what can be reached in two ways keeps its own name.

    Of several names of one file, the first in sorted order counts. Of links to a folder and to one in it, the former counts.
    """

    def __init__(self, root: Path, identity: Identity) -> None:
        self.found = Scan(root)
        self.folders: dict[Identity, Path] = {identity: root}
        self.files: dict[Identity, Path] = {}
        self.waiting: list[tuple[Path, Identity]] = []  # files of the folder that is being read
        self.folder_links: list[Path] = []
        self.file_links: list[Path] = []
        above = (os.stat(folder) for folder in Path(os.path.realpath(root)).parents)
        self.above = {(one.st_dev, one.st_ino) for one in above}

    def all(self) -> None:
        """Read the folder with all below it."""
        self.below(self.found.root)
        while self.folder_links:
            links, self.folder_links = sorted(self.folder_links, key=_outermost), []
            for link in links:
                identity = _identity(link)
                if identity in self.above:
                    self.leave_out("links to folders around this one", link)
                elif self.is_new(link, identity):
                    self.below(link)
        self.waiting = [(link, _identity(link)) for link in self.file_links]
        self.take("links to files that are read already")

    def below(self, start: Path) -> None:
        """Read a folder and the real folders in it; put links aside."""
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                device = os.stat(folder).st_dev
                with os.scandir(folder) as entries:
                    listing = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.leave_out(f"folders that cannot be read ({error.strerror})", folder)
                continue
            for entry in listing:
                path = folder / entry.name
                if is_hidden(entry.name):
                    self.hide(path, entry)
                elif entry.is_symlink():
                    self.link(path)
                elif entry.is_dir():
                    identity = (device, entry.inode()) if not os.path.ismount(path) else _identity(path)
                    if self.is_new(path, identity):
                        waiting.append(path)
                elif self.is_picture(path):
                    self.waiting.append((path, (device, entry.inode())))
        self.take("further names (hard links) of files that are read already")

    def is_new(self, path: Path, identity: Identity) -> bool:
        """Note that a folder is read; leave it out if it was already."""
        if identity in self.folders:
            self.leave_out("links to folders that are read already", path, of=self.folders[identity])
            return False
        self.folders[identity] = path
        return True

    def take(self, reason: str) -> None:
        """Add the files that wait, in sorted order, but each only once."""
        for path, identity in sorted(self.waiting, key=lambda one: _parts(one[0])):
            if identity in self.files and (path.is_symlink() or os.stat(path).st_nlink > 1):  # Else the number is no identity.
                self.leave_out(reason, path, of=self.files[identity])
            else:
                self.files[identity] = path
                self.found.files.append(path)
        self.waiting = []

    def link(self, path: Path) -> None:
        """Put a link aside; leave it out if it leads nowhere."""
        try:
            os.stat(path)
        except OSError as error:  # The target is missing, or the link leads to itself.
            self.leave_out(f"broken links ({error.strerror})", path)
            return
        if path.is_dir():
            self.folder_links.append(path)
        elif self.is_picture(path):
            self.file_links.append(path)

    def is_picture(self, path: Path) -> bool:
        """Return whether a file's name is that of a picture; count it if not."""
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            return True
        if suffix in ARRAYS:
            self.found.arrays.append(path)
        self.found.left_out.suffixes[shown(suffix) or "without a suffix"] += 1
        self.note(path.parent, f"files of other kinds: {shown(path.name)}")
        return False

    def hide(self, path: Path, entry: "os.DirEntry[str]") -> None:
        """Count a hidden file, or the files in a hidden folder."""
        if entry.is_dir(follow_symlinks=False):
            files = sum(len(names) for _, _, names in os.walk(path))
            if files:
                self.found.left_out.add(HIDDEN, self.name(path) + "/", files)
        else:
            self.found.left_out.add(HIDDEN, self.name(path))

    def leave_out(self, reason: str, path: Path, of: Path | None = None) -> None:
        """Count what is not read; `of` is what is read instead."""
        name = self.name(path) + (f" is {self.name(of)}" if of else "")
        self.found.left_out.add(reason, name)
        self.note(path, f"{reason}: {name}")

    def note(self, folder: Path, reason: str) -> None:
        """Keep why something in a folder is not read."""
        reasons = self.found.unread.setdefault(folder.relative_to(self.found.root), [])
        if len(reasons) < EXAMPLES:
            reasons.append(reason)

    def name(self, path: Path) -> str:
        """Return a path for people."""
        return shown(path.relative_to(self.found.root))


def _outermost(link: Path) -> tuple[int, Path]:
    """Sort links by how deep their targets lie, so that a folder comes before those in it."""
    return len(Path(os.path.realpath(link)).parts), link


def _identity(path: Path) -> Identity:
    found = os.stat(path)
    return found.st_dev, found.st_ino
