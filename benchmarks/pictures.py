"""`python -m benchmarks.pictures`: colour pictures, as PNG and JPEG, of the model's size and four times as wide and high.

The models are the shipped sprites (64 x 64) and a convolutional net for 256 x 256 with random weights, made when it starts.
The pictures are smooth noise, so that their files are about as large as photographs. The throughput is compared with Pillow on
one core, which decodes and resizes; the CPU time with that of Pillow and full batches of the net in ONNX Runtime, together.
"""

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import models
from benchmarks import bystanders, load, report
from benchmarks.bystanders import Bystanders
from benchmarks.limit import BATCH, OnnxEngine
from benchmarks.load import LoadError, Request, Result
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.service import READY
from benchmarks.workload import ROOT
from models.train.flag_types import whole

SPRITES, LARGE = "sprites", "conv-256"
SIZES = {SPRITES: 64, LARGE: 256}  # width and height of the model's pictures
LARGE_CONFIG = models.VAEConfig((3, 256, 256), 64, "conv", {"channels": [16, 32, 64, 128]})
FORMATS = {"PNG": {"compress_level": 6}, "JPEG": {"quality": 90}}
ENLARGED = 4
DIFFERENT, COARSE, NOISE = 16, 8, 4
WARM_UP_SECONDS, LIMIT_SECONDS = 1, 0.5
COLUMNS = (
    "model",
    "pictures",
    "kB a file",
    "connections",
    "images/s",
    "spread",
    "p50 ms",
    "p99 ms",
    "CPU ms an image",
    "Pillow's images/s on one core",
    "share of it",
    "the net's images/s on one core",
    "CPU time / that of both",
    "errors",
)


@dataclass(frozen=True)
class Kind:
    """Files of one format and size, for one model."""

    model: str
    format: str
    size: int
    files: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{self.format}, {self.size} x {self.size}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """A request for each file."""
        headers = {"Content-Type": f"image/{self.format.lower()}"}
        return tuple(Request("POST", f"/encode?model={self.model}", headers, file) for file in self.files)


@dataclass(frozen=True)
class Sample:
    """One measurement of one kind; the limits are in images per second of CPU time."""

    result: Result
    cpu: float  # seconds of CPU time per image
    pillow: float
    net: float
    others: float  # cores used by other processes


def make_models(directory: Path) -> None:
    """Write both checkpoints; random weights are as fast as trained ones."""
    shutil.copytree(ROOT / "models" / "weights" / SPRITES, directory / SPRITES)
    torch.manual_seed(0)
    models.save(directory / LARGE, models.VAE(LARGE_CONFIG))


def kinds() -> list[Kind]:
    """Return all kinds of files."""
    rng = np.random.default_rng(0)
    found = []
    for model, own in SIZES.items():
        for size in (own, ENLARGED * own):
            images = [smooth(rng, size) for _ in range(DIFFERENT)]
            found += [Kind(model, name, size, tuple(written(one, name) for one in images)) for name in FORMATS]
    return found


def smooth(rng: np.random.Generator, size: int) -> Image.Image:
    """Return coarse random colours, enlarged, with a little noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (COARSE, COARSE, 3), np.uint8))
    enlarged = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    noisy = enlarged + rng.normal(0, NOISE, enlarged.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def written(image: Image.Image, name: str) -> bytes:
    """Return the file of a picture."""
    out = io.BytesIO()
    image.save(out, name, **FORMATS[name])
    return out.getvalue()


def per_cpu_second(work: Callable[[], int]) -> float:
    """Repeat work for a while. Return the images per second of CPU time; `work` returns how many images it takes."""
    work()
    done, started = 0, time.process_time()
    while (spent := time.process_time() - started) < LIMIT_SECONDS:
        done += work()
    return done / spent


def decode_all(kind: Kind) -> int:
    """Decode and resize all files with Pillow. Return their number."""
    own = SIZES[kind.model]
    for file in kind.files:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        np.asarray(image if image.width == own else image.resize((own, own), Image.Resampling.BILINEAR))
    return len(kind.files)


def encode_batch(engine: OnnxEngine, size: int) -> int:
    """Encode a full batch. Return its size."""
    engine.encode(np.zeros((BATCH, 3, size, size), np.uint8))
    return BATCH


def measure(server: Running, kind: Kind, net: OnnxEngine, connections: int, seconds: int) -> Sample:
    """Measure the limits, then the service. Raises LoadError."""
    pillow_rate = per_cpu_second(lambda: decode_all(kind))
    net_rate = per_cpu_second(lambda: encode_batch(net, SIZES[kind.model]))
    load.run(server.url, kind.requests, connections, WARM_UP_SECONDS)
    others, before = Bystanders(server.pid), server.cpu()
    result = load.run(server.url, kind.requests, connections, seconds)
    cpu = (server.cpu().total - before.total) / max(1, result.requests)
    return Sample(result, cpu, pillow_rate, net_rate, others.cores())


def measure_all(options: argparse.Namespace) -> dict[tuple[Kind, int], list[Sample]]:
    """Return the samples of each round, by kind and number of connections. Raises StartError, LoadError."""
    found: defaultdict[tuple[Kind, int], list[Sample]] = defaultdict(list)
    chosen = [kind for kind in kinds() if options.only in f"{kind.model}, {kind.name}"]
    with tempfile.TemporaryDirectory() as home:
        make_models(Path(home))
        nets = {name: OnnxEngine(Path(home) / name) for name in SIZES}
        port = free_port()
        command = [sys.executable, "-m", "service", "--port", str(port), "--models-dir", home]
        variables = {"VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu", "VAE_STORE": f"{home}/latents.db"}
        with running(command, port, READY, variables) as server:
            for turn in range(1, options.rounds + 1):
                for kind in chosen:
                    for connections in options.connections:
                        sample = measure(server, kind, nets[kind.model], connections, options.seconds)
                        found[kind, connections].append(sample)
                        rate = sample.result.requests_per_second
                        report.progress(
                            f"round {turn}, {kind.model}, {kind.name}, {connections} connections: {rate:.0f} images/s"
                        )
    return found


def rows(samples: Mapping[tuple[Kind, int], Sequence[Sample]]) -> Iterator[list[str]]:
    """Yield a line for each kind and number of connections, with the medians of all rounds."""
    for (kind, connections), runs in samples.items():
        rates = [run.result.requests_per_second for run in runs]
        pillow = [rate / run.pillow for rate, run in zip(rates, runs, strict=True)]
        both = [run.cpu / (1 / run.pillow + 1 / run.net) for run in runs]
        yield [
            kind.model,
            kind.name,
            report.number(sum(map(len, kind.files)) / len(kind.files) / 1e3),
            str(connections),
            report.number(report.median(rates)),
            report.percent(report.spread(rates)),
            report.number(report.median(run.result.p50_ms for run in runs)),
            report.number(report.median(run.result.p99_ms for run in runs)),
            report.number(report.median(1e3 * run.cpu for run in runs)),
            report.number(report.median(run.pillow for run in runs)),
            report.percent(report.median(pillow)),
            report.number(report.median(run.net for run in runs)),
            report.number(report.median(both)),
            report.errors(
                pair for run in runs for pair in (("socket", run.result.socket_errors), *run.result.statuses.items())
            ),
        ]


def main() -> int:
    """Measure and print. Exit status: 1 if the service fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description="Measure larger pictures.")
    parser.add_argument(
        "--rounds", type=whole(1, 100), default=3, help="measurements of each line, interleaved (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="length of each measurement (default: %(default)s)")
    parser.add_argument(
        "--connections", type=whole(1, 1024), nargs="+", default=[16], help="connections of the client (default: 16)"
    )
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only lines with this text, as in 'sprites, JPEG'")
    options = parser.parse_args()
    print(report.heading("benchmarks.pictures"), flush=True)
    try:
        load.require_wrk()
        samples = measure_all(options)
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(COLUMNS, rows(samples)), end="\n\n")
    print(bystanders.remark([sample.others for runs in samples.values() for sample in runs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
