"""python -m benchmarks.bulk: how fast `python -m service.store load` encodes, compared with the encoder alone.

The encoder alone encodes pictures that are in memory, as /encode does with an array, in as many processes and with as many
threads as the load has. The load reads the same pictures from PNG files, from PNG files in Parquet and as pixels from an npy
file. It is measured for some seconds after a quarter is done, since starting takes seconds whatever the number of pictures,
and then killed.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bulk_bare import bare
from benchmarks.bulk_pictures import make_pictures, write_sources
from benchmarks.report import heading, progress, table
from models.checkpoint import read
from models.readers.left_out import listed
from models.train.flag_types import positive, whole
from service.inference.catalog import find
from service.settings import SHIPPED_WEIGHTS

# Progress after each batch.
COMMAND = "import sys, service.load_command as l; l.LOG_SECONDS = 0; from service.store_command import main; sys.exit(main())"
SAMPLE_SECONDS = 0.5
SOURCES = {"png": "", "parquet": ".parquet", "npy": ".npy"}  # the suffixes of what is read
RAY = {"RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "200000000"}


@dataclass(frozen=True)
class Measured:
    """Pictures a second, the CPU time of one in microseconds, and the seconds before a quarter is done."""

    rate: float
    cpu: float
    start: float


def measure(arguments: list[str], directory: Path, seconds: float, first: int) -> Measured:
    """Run a load and measure it, after the first results, until it ends or for so many seconds."""
    environment = {**os.environ, **RAY, "RAY_TMPDIR": str(directory / "ray"), "VAE_STORE": str(directory / "latents.db")}
    command = [sys.executable, "-c", COMMAND, "load", *arguments]
    began = time.perf_counter()
    points: list[tuple[int, float, float]] = []  # items, seconds, CPU seconds
    is_long = False
    how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command, env=environment, **how) as process:
        for done in _told(process):
            if done < first:  # Some encoders are still starting.
                continue
            now = time.perf_counter()
            if not points or now - points[0][1] > SAMPLE_SECONDS * len(points):
                points.append((done, now, _cpu_seconds(process.pid)))
            if is_long := now - points[0][1] > seconds:
                break
        os.killpg(process.pid, signal.SIGKILL)
    if not is_long:  # The CPU time of processes that have ended cannot be read.
        raise SystemExit(f"the load ended too early: {' '.join(arguments)}; give more pictures with --count")
    (earlier, start, cpu), (last, end, later) = points[0], points[-1]
    return Measured((last - earlier) / (end - start), 1e6 * (later - cpu) / (last - earlier), start - began)


def _told(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """Yield the numbers of pictures in lines of progress, from the first results on."""
    assert process.stderr is not None
    line, said = b"", b""
    while byte := process.stderr.read(1):
        if byte not in b"\r\n":
            line += byte
            continue
        done, slash, _ = line.decode(errors="replace").partition("| ")[2].partition("/")
        if slash and done.isdigit() and int(done):
            yield int(done)
        else:
            said += line + b"\n"
        line = b""
    if process.wait():
        sys.stderr.buffer.write(said)


def _cpu_seconds(pid: int) -> float:
    own = psutil.Process(pid)
    times = [one.cpu_times() for one in [own, *own.children(recursive=True)]]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--model", default="mnist-40", help="a model that ships (default: mnist-40)")
    parser.add_argument("--count", type=whole(4, 100_000_000), default=200_000, help="pictures (default: 200,000)")
    parser.add_argument(
        "--processes", type=whole(1, 256), default=os.cpu_count() or 1, help="encoders (default: one for each CPU)"
    )
    parser.add_argument("--rounds", type=whole(1, 100), default=3)
    parser.add_argument("--seconds", type=positive(), default=6, help="of each measurement (default: 6)")
    parser.add_argument("--only", nargs="+", default=["files", "collection", "ray"], choices=["files", "collection", "ray"])
    parser.add_argument(
        "--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES), help="png, parquet, npy (default: all)"
    )
    parser.add_argument("--directory", type=Path, help="where the pictures are kept for the next time")
    options = parser.parse_args()
    if options.model not in (names := find(SHIPPED_WEIGHTS)):
        parser.error(
            f"there is no model {options.model!r} that ships, only {listed(list(names), most=20)}; choose one with --model"
        )
    os.environ["VAE_DEVICE"], os.environ["VAE_THREADS"] = "cpu", "1"
    manifest = read(SHIPPED_WEIGHTS / options.model).manifest
    if (kind := manifest.model.kind) != "picture":
        parser.error(f"--model {options.model} is a model of the kind {kind}; choose one of pictures")
    spec = manifest.preprocessing
    pictures = make_pictures(*spec.shape)
    with tempfile.TemporaryDirectory(prefix="bulk") as name:
        root = Path(name)
        progress("writing pictures")
        kept = (options.directory or root) / "x".join(map(str, (*spec.shape, options.count)))
        sources = write_sources(kept, pictures, options.count)
        alone: list[tuple[float, float]] = []
        found: dict[tuple[str, str], list[Measured]] = {}
        for round in range(options.rounds):
            alone.append(bare(options.model, pictures, options.processes, 1, options.seconds))
            progress(
                f"round {round + 1}: encoder alone: {alone[-1][0]:,.0f} pictures/s, {alone[-1][1]:.1f} us of CPU time each"
            )
            for what, path in sources.items():
                for into in options.only:
                    if (into == "ray" and path.suffix == ".npy") or path.suffix not in [
                        SOURCES[name] for name in options.sources
                    ]:
                        continue
                    target = (
                        ["--collection", "some"] if into == "collection" else ["--out", str(root / f"{round} {into} {what}")]
                    )
                    engine = ["--engine", "ray"] if into == "ray" else []
                    flags = [*target, *engine, "--model", options.model, "--workers", str(options.processes), str(path)]
                    own = Path(tempfile.mkdtemp(dir=root, prefix="r"))
                    (own / "ray").mkdir()
                    one = measure(flags, own, options.seconds, options.count // 4)
                    found.setdefault((what, into), []).append(one)
                    progress(f"round {round + 1}: {what}, {into}: {one.rate:,.0f} pictures/s, {one.cpu:.1f} us each")
    rate, cpu = (statistics.median(values) for values in zip(*alone, strict=True))
    print(heading("benchmarks.bulk"))
    rows = [[f"encoder alone, {options.processes} processes", f"{rate:,.0f}", "1.00", f"{cpu:.1f}", "1.00", ""]]
    outputs = {"files": "Parquet files", "collection": "a collection in sqlite", "ray": "Parquet files, --engine ray"}
    for (what, into), values in found.items():
        own_rate, own_cpu, start = (statistics.median(getattr(one, key) for one in values) for key in ("rate", "cpu", "start"))
        ratios = f"{own_rate / rate:.2f}", f"{cpu / own_cpu:.2f}"
        rows.append(
            [f"{what} into {outputs[into]}", f"{own_rate:,.0f}", ratios[0], f"{own_cpu:.1f}", ratios[1], f"{start:.1f}"]
        )
    print(table(["", "pictures/s", "of the encoder's", "CPU µs each", "of the encoder's", "s before a quarter is done"], rows))


if __name__ == "__main__":
    main()
