"""How much memory is free, and the check that an array fits into it before it is allocated."""

from pathlib import Path

from models.readers.download import DataError

MEMINFO, GROUP = Path("/proc/meminfo"), Path("/proc/self/cgroup")
CONTROL = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Return the free bytes: of the machine, or of this control group if it has fewer. None where neither is known."""
    return min((found for found in (_machine(), _group()) if found is not None), default=None)


def check_memory(needed: int, what: str, instead: str = "") -> None:
    """Raise DataError if `needed` bytes are more than there are.

    `what` names the pictures, in plural; `instead` ends the advice.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} need {size_text(needed)} of memory, {size_text(free)} are free; choose a smaller --size, or fewer "
            f"pictures{instead}"
        )


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    for unit, bytes_of_it in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= bytes_of_it:
            return f"{size / bytes_of_it:.1f} {unit}"
    return f"{size / 1024:.1f} KiB"


def _machine() -> int | None:
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _group() -> int | None:
    """Return what the limits of the control groups (version 2 or 1) leave; pages of files do not count as used."""
    try:
        lines = GROUP.read_text().splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            found += _above(CONTROL, name, "memory.max", "memory.current", "file")
        elif "memory" in controllers.split(","):
            found += _above(CONTROL / "memory", name, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
    return min(found, default=None)


def _above(top: Path, name: str, limit: str, usage: str, cache: str) -> list[int]:
    """Return what is left in a group and in each group above it, as far as they are visible and have a limit."""
    found = []
    folder = top / name.lstrip("/")
    for group in (folder, *folder.parents):
        try:
            most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            if most != "max":
                found.append(max(0, int(most) - used + int(stat.get(cache, 0))))
        except (OSError, ValueError):
            pass
        if group == top:
            break
    return found
