"""Loads that are killed with all their processes at random moments, and started again until they end."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Progress is told after each batch, so that a test can kill a load at any of them; batches are small.
COMMAND = "import sys, service.load_command as l; l.LOG_SECONDS, l.BATCH = 0, {batch}; "
    "import sys, service.load_command as l; l.LOG_SECONDS, l.BATCH = 0, {batch}; from service.store_command import main; "
)
START = "from service.store_command import main; sys.exit(main())"


def run_killed(
    arguments: list[str], kills: int, total: int, seed: int, batch: int = 16, env: Mapping[str, str] | None = None
) -> str:
    """Run a load, and kill it so many times at random moments. Return what it said at the end."""
    chance = random.Random(seed)
    command = [sys.executable, "-c", COMMAND.format(batch=batch) + START, "load", *arguments]
    for _ in range(kills):
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        ) as process:
            assert process.stderr is not None
            wanted, told, done = chance.randrange(total), b"", -1
            while done < wanted and (byte := process.stderr.read(1)):
                if byte in b"\r\n":
                    done = max(done, _done(told))
                    told = b""
                else:
                    told += byte
            os.killpg(process.pid, signal.SIGKILL)
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def _done(line: bytes) -> int:
    """Return the number of items in a line of progress, -1 in another one."""
    _, _, counts = line.decode(errors="replace").partition("| ")
    count, slash, _ = counts.partition("/")
    return int(count) if slash and count.isdigit() else -1
