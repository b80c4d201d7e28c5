"""Links that lead nowhere: their target is missing, or they lead in a circle."""

from pathlib import Path


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link that leads nowhere. Raises OSError if that cannot be told."""
    return path.is_symlink() and not path.exists()
