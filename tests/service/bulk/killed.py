"""Loads in processes of their own, which are killed at random moments and started again until they end."""

import os
import random
import signal
import subprocess
import sys

# Progress is told after each batch, so that a test can kill a load at any of them; batches are small.
COMMAND = (
    "import sys, service.load_command as l; l.LOG_SECONDS, l.BATCH = 0, 16; "
    "from service.store_command import main; sys.exit(main())"
)


class Load(subprocess.Popen[bytes]):
    """A load in a process group of its own."""

    def told(self, wanted: int) -> None:
        """Wait until it says that so many items are done, or ends."""
        assert self.stderr is not None
        line, done = b"", -1
        while done < wanted and (byte := self.stderr.read(1)):
            if byte in b"\r\n":
                line, done = b"", max(done, _done(line))
            else:
                line += byte

    def kill_all(self) -> None:
        """Kill the group."""
        os.killpg(self.pid, signal.SIGKILL)


def started(arguments: list[str]) -> Load:
    command = [sys.executable, "-c", COMMAND, "load", *arguments]
    return Load(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def run_killed(arguments: list[str], kills: int, total: int, seed: int) -> None:
    """Run a load, and kill it so many times at random moments; the last one ends by itself."""
    chance = random.Random(seed)
    for _ in range(kills):
        with started(arguments) as process:
            process.told(chance.randrange(total))
            process.kill_all()
    with started(arguments) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert process.returncode == 0, said


def _done(line: bytes) -> int:
    """Return the number of items in a line of progress, -1 for another line."""
    _, _, counts = line.decode(errors="replace").partition("| ")
    count, slash, _ = counts.partition("/")
    return int(count) if slash and count.isdigit() else -1
