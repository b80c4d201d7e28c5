"""`python -m benchmarks.gpu`: how much of an NVIDIA GPU's throughput reaches the callers. Prints tables at the end.

It uses a small net (the shipped digits) and one with more than 1 GFLOP. First it runs batches without the service, as replayed
CUDA graphs and as eager torch. Then it measures the whole service, also with a net that computes almost nothing, which shows
the cost of everything else. Knows nothing of how requests are served.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

import models
from benchmarks import load, report
from benchmarks.load import LoadError, Request
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.service import READY, counts
from benchmarks.workload import NPY, ROOT, encode_request, npy, png
from models.train.flag_types import whole
from service.engine.buckets import smaller_buckets
from service.engine.programs.cuda_program import CudaProgram, Streams
from service.engine.programs.torch_program import Program, Rows, TorchProgram
from service.inference.kinds.served_kind import encoder

SMALL, LARGE, NOTHING = "mnist", "large", "nothing"
LARGE_CHANNELS = [256, 384, 512]
LATENT_DIM = {SMALL: 20, LARGE: 64, NOTHING: 20}
AT_ONCE = 2  # concurrent batches, the same as in the service on a GPU
MANY = 256
Images = NDArray[np.uint8]


def make_models(directory: Path) -> None:
    """Write the three checkpoints; random weights are as fast as trained ones."""
    shutil.copytree(ROOT / "models" / "weights" / SMALL, directory / SMALL)
    torch.manual_seed(0)
    large = models.VAEConfig((3, 64, 64), LATENT_DIM[LARGE], "conv", {"channels": LARGE_CHANNELS})
    nothing = models.VAEConfig((1, 28, 28), LATENT_DIM[NOTHING], "mlp", {"hidden": []})
    models.save(directory / LARGE, models.VAE(large))
    models.save(directory / NOTHING, models.VAE(nothing))


def pictures(shape: tuple[int, ...], number: int) -> Images:
    """Return random pixels, uint8 (n, H, W, C)."""
    channels, height, width = shape
    return np.random.default_rng(0).integers(0, 256, (number, height, width, channels), np.uint8)


# --- the device by itself


def flops(vae: models.VAE, device: torch.device) -> int:
    """Return the FLOPs of encoding one picture, 2 per multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        vae.encode(torch.zeros((1, *vae.config.shape), device=device))
    total: int = counter.get_total_flops()
    return total


def rate(program: Program, rows: Rows, seconds: float, threads: int) -> float:
    """Return pictures per second, including copies to and from the device, with so many threads."""
    bucket = len(rows)
    program([rows], bucket)
    done = [0] * threads
    end = time.perf_counter() + seconds

    def work(which: int) -> None:
        while time.perf_counter() < end:
            program([rows], bucket)
            done[which] += 1

    workers = [threading.Thread(target=work, args=(which,)) for which in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) * bucket / seconds


def device_rows(
    name: str, directory: Path, device: torch.device, max_batch: int, seconds: float, best: dict[str, float]
) -> Iterator[list[str]]:
    """Yield a line for each bucket of one net, and store its best rate in `best`."""
    vae = models.load(directory / name).to(device).requires_grad_(False)
    examples: Rows = np.ascontiguousarray(pictures(vae.config.shape, max_batch).transpose(0, 3, 1, 2))
    eager = TorchProgram(encoder(vae), device, examples)
    replay: Program = CudaProgram(encoder(vae), Streams(device), examples) if device.type == "cuda" else eager
    reference = replay([examples], max_batch)
    at_once = AT_ONCE if device.type == "cuda" else 1
    for bucket in [*reversed(smaller_buckets(max_batch)), max_batch]:
        rows = examples[:bucket]
        equal = np.array_equal(replay([rows], bucket), reference[:bucket])
        speed = rate(replay, rows, seconds, at_once)
        best[name] = max(best.get(name, 0.0), speed)
        yield [
            f"{name} ({flops(vae, device) / 1e6:,.0f} MFLOP)",
            str(bucket),
            report.number(speed),
            report.number(rate(replay, rows, seconds, 1)),
            report.number(rate(eager, rows, seconds, 1)),
            "yes" if equal else "no",
        ]


# --- the service


def service_rows(server: Running, name: str, shape: tuple[int, int, int], seconds: int, limit: float) -> Iterator[list[str]]:
    """Yield a line for each kind of load on one net."""
    images = pictures(shape, MANY)
    pngs = [png(image) for image in images[:64]]
    singles = [encode_request([picture]) for picture in pngs]
    many = [Request("POST", f"/encode?format=npy&model={name}", NPY, npy(images))]
    singles = [Request(one.method, f"/encode?model={name}", one.headers, one.body) for one in singles]
    plan: list[tuple[str, int, Sequence[Request], int]] = [("1, JSON", 1, singles, callers) for callers in (1, 64, 256)]
    plan.append((f"{MANY}, npy", MANY, many, 16))
    for kind, number, requests, callers in plan:
        load.run(server.url, requests, callers, 1)
        before = counts(server.url)
        result = load.run(server.url, requests, callers, seconds)
        after = counts(server.url)
        batches = after.batches - before.batches
        speed = result.requests_per_second * number
        yield [
            name,
            kind,
            str(callers),
            report.number(speed),
            report.percent(speed / limit),
            report.number(result.p50_ms),
            report.number(result.p99_ms),
            report.number((after.rows - before.rows) / batches if batches else None),
            str(result.errors),
        ]


DEVICE_COLUMNS = ("net", "batch", "images/s, two at once", "one at a time", "eager torch", "same bits as the largest batch")
SERVICE_COLUMNS = (
    "net",
    "pictures per request",
    "callers",
    "images/s",
    "share of the device's best",
    "p50 ms",
    "p99 ms",
    "rows per batch",
    "errors",
)


def main() -> int:
    """Measure and print. Exit status: 1 if the server fails or wrk is missing, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="How much of a GPU reaches the callers.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try it out (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=whole(1, 600), default=3, help="length of each measurement of the service (default: %(default)s)"
    )
    parser.add_argument(
        "--max-batch", type=whole(1, 4096), default=MANY, help="rows of the largest batch (default: %(default)s)"
    )
    parser.add_argument("--precision", default="float32", help="precision of the service (default: %(default)s)")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("error: torch finds no CUDA device", file=sys.stderr)
        return 2
    best: dict[str, float] = {}
    by_device: list[list[str]] = []
    by_service: list[list[str]] = []
    try:
        load.require_wrk()
        with tempfile.TemporaryDirectory() as home:
            directory = Path(home)
            make_models(directory)
            for name in (SMALL, LARGE, NOTHING):
                report.progress(f"{name} on {device}")
                by_device += device_rows(name, directory, device, options.max_batch, options.seconds / 6, best)
            port = free_port()
            command = [sys.executable, "-m", "service", "--port", str(port), "--models-dir", home, "--default-model", SMALL]
            command += ["--device", options.device, "--max-batch", str(options.max_batch), "--precision", options.precision]
            with running(command, port, READY, {"VAE_ACCESS_LOG": "false"}) as server:
                for name in (SMALL, NOTHING, LARGE):
                    report.progress(f"{name} in the service")
                    shape = (3, 64, 64) if name == LARGE else (1, 28, 28)
                    by_service += service_rows(server, name, shape, options.seconds, best[name])
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.heading("benchmarks.gpu"))
    if device.type == "cuda":
        print(f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}\n")
    print(report.table(DEVICE_COLUMNS, by_device), end="\n\n")
    print(report.table(SERVICE_COLUMNS, by_service))
    print(f"\nCompare {SMALL} with {NOTHING} line by line: the difference is the cost of the forward pass.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
