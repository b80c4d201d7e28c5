"""`python -m benchmarks.cost`: microseconds of CPU time that a request costs the service, by stage.

For each of a few settings it starts the service and sends requests of one kind at a time over 64 connections: the total. Then
benchmarks.in_process answers the same requests without sockets, and counts functions: the stages. What the first takes more
than the second is the cost of sockets. CPU time leaves out what other processes take, but on a busy machine all of it is up to
half as long again, and the difference means nothing. One thread computes, since two would wait for each other at full speed.
Of the service it knows the names of its files.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import bystanders, load, report
from benchmarks.bystanders import Bystanders
from benchmarks.load import LoadError, Request
from benchmarks.process import Running, StartError, environment, free_port, running
from benchmarks.service import READY
from benchmarks.workload import DIFFERENT_REQUESTS, MODEL, ROOT, Traffic, sample_request, traffic
from models.train.flag_types import whole

CONNECTIONS, WARM_UP_SECONDS = 64, 1
# The name of what is no function: the event loop.
LOOP = "event loop"
KEY = "key-of-the-benchmark"
# A header that the hot path does not know, so that the request takes the general path.
GENERAL = {"DNT": "1"}

# What each stage does, and how its functions begin. The longest beginning that fits counts.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sockets": ("reading from sockets, writing to them, and the event loop", (LOOP,)),
    "parse": (
        "from bytes to a request: the connection class, and httptools or the look-up of a known head",
        ("service/server/", "uvicorn/", "service/http/hot_path.py:HotPath.find"),
    ),
    "stack": ("what is done for every request: checks, counters, ids, the middleware, the hot path", ("service/http/",)),
    "observe": (
        "the access log and the metrics",
        ("service/observe/",),
    ),
    "body": (
        "JSON or npy to items, the parameters, the choice of the model",
        ("service/rest/", "service/formats/json_values.py", "service/formats/npy.py", "service/formats/latent_rows.py"),
    ),
    "decode": (
        "base64 and picture files to pixels",
        ("service/formats/", "models/", *(f"service/inference/pipeline.py:{name}" for name in ("Pipeline._decode", "_bytes"))),
    ),
    "queue": ("admission, forming batches, delivering answers", ("service/engine/",)),
    "forward": (
        "the net, with its rows put together and taken apart",
        ("service/engine/programs/", "service/engine/buckets.py"),
    ),
    "render": (
        "results to JSON, npy or PNG, and the head of the answer",
        (
            "service/rest/answers.py",
            "service/rest/etags.py",
            "service/formats/json_values.py:json_bytes",
            "service/formats/npy.py:npy",
            "service/formats/npy.py:_start_of_npy",
            "service/formats/png.py:write",
            "service/formats/png.py:_chunk",
            "service/formats/pictures.py:to_uint8",
            "service/rest/direct_encode.py:DirectEncode.body",
            "service/rest/direct_decode.py:DirectDecode.body",
            "service/http/hot_path.py:HotPath.lines_of",
            "service/http/hot_path.py:HotPath.lines_around",
            "models/mosaic.py",
        ),
    ),
    "operation": (
        "between body and answer: noise, warnings, timings",
        ("service/operations/", "service/inference/", "service/latents/"),
    ),
    "remainder": ("anything else, and all threads but that of the event loop, such as the one that writes the log", ("",)),
}
# Functions whose whole name a longer one begins with.
EXACT = {"service/formats/npy.py:npy"}
PREFIXES = {prefix: stage for stage, (_, prefixes) in STAGES.items() for prefix in prefixes}


def stage_of(function: str) -> str:
    """Return the stage of a function."""
    fitting = [one for one in PREFIXES if function == one or (function.startswith(one) and one not in EXACT)]
    return PREFIXES[max(fitting, key=len)]


@dataclass(frozen=True, eq=False)
class Setting:
    """Settings of the service that change what a request costs, and the kinds of requests to measure with them."""

    name: str
    variables: Mapping[str, str]
    kinds: tuple[Traffic, ...]


def settings() -> list[Setting]:
    """Return all settings. The first has the fastest values; each of the others differs from it in one value."""
    known = traffic()
    encode = known["encode 1, JSON"]
    both = encode, with_headers(encode, GENERAL, "encode 1, JSON, general path")
    samples = tuple(sample_request(seed, "?format=png") for seed in range(DIFFERENT_REQUESTS))
    names = "encode 1, PNG", "encode 1, npy", "decode 1 to PNG", "sample 16 to JSON"
    kinds = *both, *(known[name] for name in names), Traffic("sample 16 to PNG", 16, samples)
    keyed = tuple(with_headers(kind, {"Authorization": f"Bearer {KEY}"}, kind.name) for kind in both)
    return [
        Setting("access log off", {}, kinds),
        Setting("access log on", {"VAE_ACCESS_LOG": "true"}, both),
        Setting("one key", {"VAE_API_KEYS": f"bench infer {KEY}"}, keyed),
        Setting("metrics off", {"VAE_METRICS": "false"}, both),
    ]


def with_headers(kind: Traffic, headers: Mapping[str, str], name: str) -> Traffic:
    """Return the requests with more headers."""
    requests = tuple(replace(one, headers={**one.headers, **headers}) for one in kind.requests)
    return Traffic(name, kind.images, requests)


@dataclass(frozen=True)
class Sample:
    """CPU time of a request, in seconds."""

    total: float
    kernel: float  # the part of the total that the operating system takes
    inside: float  # the total without sockets
    threads: float  # what other threads take without sockets
    functions: Mapping[str, float]  # what the event loop's thread takes without sockets
    others: float  # cores that other processes used

    def stages(self) -> dict[str, float]:
        """Return the CPU time of each stage. Their sum is the total."""
        found = dict.fromkeys(STAGES, 0.0)
        for function, seconds in self.functions.items():
            found[stage_of(function)] += seconds
        found["remainder"] += self.threads
        found["sockets"] += self.total - self.inside - self.threads
        return found


def totals(server: Running, requests: Sequence[Request], seconds: int) -> tuple[float, float, float]:
    """Return total, part of the kernel, and the cores that other processes used. Raises LoadError."""
    load.run(server.url, requests, CONNECTIONS, WARM_UP_SECONDS)
    others, before = Bystanders(server.pid), server.cpu()
    result = load.run(server.url, requests, CONNECTIONS, seconds)
    after = server.cpu()
    if result.errors:
        raise LoadError(f"{result.errors} requests failed")
    return (after.total - before.total) / result.requests, (after.system - before.system) / result.requests, others.cores()


def without_sockets(setting: Setting, names: Sequence[str], directory: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what benchmarks.in_process finds for these kinds. Raises StartError."""
    file = Path(directory) / "found.json"
    own = environment(**variables, BENCHMARK_RESULT=str(file))
    command = [sys.executable, "-m", "benchmarks.in_process", setting.name, *names]
    done = subprocess.run(command, env=own, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"benchmarks.in_process failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def measure_all(options: argparse.Namespace) -> dict[tuple[str, str], list[Sample]]:
    """Return the samples of each round, by setting and kind. Raises StartError, LoadError."""
    found: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    chosen = [(one, kind) for one in settings() for kind in one.kinds if options.only in f"{kind.name}, {one.name}"]
    with tempfile.TemporaryDirectory() as directory:
        fixed = {"VAE_MODELS": MODEL, "VAE_DEVICE": "cpu", "VAE_THREADS": "1", "VAE_STORE": f"{directory}/latents.db"}
        for turn in range(1, options.rounds + 1):
            for setting in dict.fromkeys(one for one, _ in chosen):
                kinds = [kind for one, kind in chosen if one is setting]
                variables = {"VAE_ACCESS_LOG": "false", **fixed, **setting.variables}
                port = free_port()
                with running([sys.executable, "-m", "service", "--port", str(port)], port, READY, variables) as server:
                    whole = {kind.name: totals(server, kind.requests, options.seconds) for kind in kinds}
                inside = without_sockets(setting, list(whole), directory, variables)
                for name, (total, kernel, others) in whole.items():
                    seen = inside[name]
                    sample = Sample(total, kernel, seen["total"], seen["threads"], seen["functions"], others)
                    found[name, setting.name].append(sample)
                    report.progress(f"round {turn}, {name}, {setting.name}: {1e6 * total:.0f} µs")
    return found


def rows(samples: Mapping[tuple[str, str], Sequence[Sample]]) -> Iterator[list[str]]:
    """Yield a line for each kind of request and setting, in microseconds: means, so that the stages add up to the total."""
    for key, runs in samples.items():
        sums = [run.total for run in runs]
        columns = [sums, [run.kernel for run in runs]]
        columns += [[run.stages()[stage] for run in runs] for stage in STAGES]
        cells = [report.number(1e6 * fmean(values)) for values in columns]
        yield [*key, cells[0], report.percent(report.spread(sums)), *cells[1:]]


def functions(runs: Sequence[Sample], number: int) -> Iterator[list[str]]:
    """Yield the functions that take most CPU time, in microseconds: means of all runs."""
    sums: defaultdict[str, float] = defaultdict(float)
    for run in runs:
        for function, seconds in run.functions.items():
            sums[function] += seconds
    for function, seconds in sorted(sums.items(), key=itemgetter(1), reverse=True)[:number]:
        yield [function, stage_of(function), report.number(1e6 * seconds / len(runs))]


def main() -> int:
    """Measure and print. Exit status: 1 if the service fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description="CPU time of a request, by stage.")
    parser.add_argument("--rounds", type=whole(1, 100), default=3, help="visits to each setting (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=whole(1, 600), default=5, help="length of each measurement with sockets (default: %(default)s)"
    )
    parser.add_argument(
        "--only", default="", metavar="SUBSTRING", help="only lines with this text, as in 'JSON, access log off'"
    )
    parser.add_argument(
        "--functions", type=whole(0, 1000), default=0, metavar="N", help="also print the N most expensive functions of each"
    )
    options = parser.parse_args()
    print(report.heading("benchmarks.cost"), flush=True)
    try:
        load.require_wrk()
        samples = measure_all(options)
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not samples:
        parser.error(f"no line has {options.only!r} in its name")
    columns = ("requests", "setting", "CPU µs a request", "spread", "of it in the kernel", *STAGES)
    print(report.table(columns, rows(samples)), end="\n\n")
    print("\n".join(f"- {stage}: {what}" for stage, (what, _) in STAGES.items()), end="\n\n")
    print(bystanders.remark([sample.others for runs in samples.values() for sample in runs]))
    if options.functions:
        for (kind, setting), runs in samples.items():
            print(f"\n{kind}, {setting}:\n")
            print(report.table(("function", "stage", "CPU µs a request"), functions(runs, options.functions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
