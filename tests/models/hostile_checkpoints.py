"""A process of its own that reads checkpoints whose small files ask for much: run by `test_checkpoint_bounds`.

Argument: a directory. Prints a line of JSON for each: how large its files are, by how much memory grew, how much
work it was, and what was said.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from models.checkpoint import CONFIG, WEIGHTS, CheckpointError, read, save
from models.golden import GOLDEN, read_golden
from models.mixture import PRIOR, read_prior
from models.sidecar import write_companion
from models.vae import VAE, VAEConfig

SOUND = VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [5]}, "gaussian", {"sigma": "optimal"})


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """What replaces fields of `model`."""
    yield "latents", {"latent_dim": 2_000_000}
    yield "latents within bounds", {"latent_dim": 1_000_000}
    yield "huge latents", {"latent_dim": 10**400}
    yield "a wide layer", {"arch_options": {"hidden": [1_000_000]}}
    yield "wide layers", {"arch_options": {"hidden": [1_000_000] * 128}}
    yield "many layers", {"arch_options": {"hidden": [8] * 128}}
    yield "too many layers", {"arch_options": {"hidden": [8] * 300_000}}
    yield "gated layers", {"arch": "gated", "arch_options": {"hidden": [1 << 20] * 128}}
    yield "channels", {"arch": "conv", "arch_options": {"channels": [1 << 20] * 128}}
    yield "too many channels", {"arch": "conv", "arch_options": {"channels": [1] * 300_000}}
    yield "blocks", {"arch": "residual", "arch_options": {"channels": [64], "blocks": 128}}
    yield "blocks at many levels", {"arch": "residual", "arch_options": {"channels": [64] * 100, "blocks": 256}}
    yield "too many blocks", {"arch": "residual", "arch_options": {"channels": [64], "blocks": 10**9}}
    yield "a wide inner layer", {"arch": "conv", "arch_options": {"hidden": 1 << 20}}
    yield "pseudo-inputs", {"prior": "vamp", "prior_options": {"pseudo_inputs": 1_000_000}}
    yield "huge pseudo-inputs", {"prior": "vamp", "prior_options": {"pseudo_inputs": 10**18}}
    yield "a large picture", {"shape": [3, 60_000, 60_000]}
    yield "truth values", {"arch_options": {"hidden": [True]}}
    yield "a long text", {"arch": "x" * 500_000}
    yield "nested options", {"arch_options": json.loads("[" * 400 + "]" * 400)}


def headers() -> Iterator[tuple[str, bytes]]:
    """Safetensors files of which only the header is odd."""

    def file(header: bytes, body: bytes = b"") -> bytes:
        return len(header).to_bytes(8, "little") + header + body

    entry = b'"%d":{"dtype":"F32","shape":[],"data_offsets":[0,0]}'
    yield "the largest header of other software", file(b" " * 100_000_000)
    yield "a header of empty lists", file(b'{"a":[' + b"[]," * 345_000 + b"[]]}")
    yield "a header of many names", file(b"{" + b",".join(entry % i for i in range(17_000)) + b"}")
    yield (
        "a header of one long name",
        file(b'{"' + b"a" * 1_000_000 + b'":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', b"0000"),
    )
    yield "a header of a huge tensor", file(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}')
    yield "a header of 2^63 bytes", (1 << 63).to_bytes(8, "little") + b"{}"
    yield "a nested header", file(b'{"a":' + b"[" * 1_000_000)
    yield "long metadata", file(b'{"__metadata__":{"format_version":"%s"}}' % (b"9" * 1_000_000))
    yield "zeros", bytes(50_000_000)


def checkpoints(directory: Path) -> Iterator[tuple[str, int]]:
    """Hostile checkpoints in that directory, one after the other: what it is, and how many bytes it has."""
    save(directory, VAE(SOUND))
    sound = {name: (directory / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    config = json.loads(sound[CONFIG])

    def put(config: bytes, weights: bytes) -> int:
        (directory / CONFIG).write_bytes(config)
        (directory / WEIGHTS).write_bytes(weights)
        return len(config) + len(weights)

    for kind, changes in configurations():
        model = {**config["model"], **changes}
        shape = dict(zip(("channels", "height", "width"), model["shape"], strict=True))
        changed = {**config, "model": model, "preprocessing": {**config["preprocessing"], **shape}}
        yield kind, put(json.dumps(changed).encode(), sound[WEIGHTS])
    yield "lists", put(b'{"format_version":1,"data":[' + b"[]," * 300_000 + b"[]]}", sound[WEIGHTS])
    yield "much JSON", put(b'{"format_version":1,"data":[' + b"[]," * 20_000_000 + b"[]]}", sound[WEIGHTS])
    for kind, content in headers():
        yield f"weights: {kind}", put(sound[CONFIG], content)
    put(sound[CONFIG], sound[WEIGHTS])
    digest = read(directory).digest
    for name in (PRIOR, GOLDEN):
        for kind, content in headers():
            (directory / name).write_bytes(content)
            yield f"{name}: {kind}", len(content)
        (directory / name).unlink()
    small = torch.zeros(20_000_000, dtype=torch.uint8)
    write_companion(directory / PRIOR, {"weights": small, "means": small.clone(), "scale": small.clone()}, digest)
    yield "a prior of bytes", (directory / PRIOR).stat().st_size
    wide = torch.zeros(10_000_000, 2, dtype=torch.float16)
    write_companion(directory / PRIOR, {"weights": wide[:, 0].clone(), "means": wide, "scale": wide.clone()}, digest)
    yield "a prior in half precision", (directory / PRIOR).stat().st_size
    (directory / PRIOR).unlink()
    many = torch.zeros(100_000, 1, 8, 8, dtype=torch.uint8)
    write_companion(directory / GOLDEN, {"x": many, "mu": many.clone(), "sigma": many.clone(), "mean": many.clone()}, digest)
    yield "a golden answer to many pictures", (directory / GOLDEN).stat().st_size


def resident() -> int:
    """Bytes of memory at their highest since it was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def reference() -> float:
    """Processor time for a known amount of the same kind of work: a MiB of JSON, on this machine, as busy as it is."""
    text, times = "[" + "[]," * 345_000 + "[]]", []
    for _ in range(3):
        started = cpu_seconds()
        json.loads(text)
        times.append(cpu_seconds() - started)
    return sorted(times)[1]


def told(directory: Path) -> str:
    """Why the checkpoint is refused, with what lies beside it."""
    try:
        checkpoint = read(directory)
        read_prior(directory, checkpoint.digest, 2)
        read_golden(directory, checkpoint.digest, checkpoint.manifest.model)
    except CheckpointError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    torch.set_num_threads(1)
    safetensors.torch.load(safetensors.torch.save({"x": torch.zeros(2)}))  # nothing is imported later
    save(directory, VAE(SOUND))
    told(directory)
    unit = reference()
    for kind, size in checkpoints(directory):
        Path("/proc/self/clear_refs").write_text("5")
        before, started, cpu = resident(), time.monotonic(), cpu_seconds()
        said = told(directory)
        line = {
            "kind": kind,
            "size": size,
            "grown": resident() - before,
            "seconds": round(time.monotonic() - started, 3),
            "work": round((cpu_seconds() - cpu) / unit, 1),
            "told": said,
        }
        sys.stdout.write(json.dumps(line) + "\n")
