"""ONNX Runtime: it answers like torch, alike in every batch size, or says that it cannot."""

import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import models
from models import VAE, VAEConfig
from models.onnx_graph import is_installed
from service.engine.device import Device, EngineName, Precision, QueueLimits
from service.engine.errors import DeviceUnusable
from service.engine.programs import onnx_program
from service.engine.programs.onnx_program import TOLERANCE, OnnxProgram, OnnxUnusable, start_sessions
from service.latents import noise as seeds

Function = Callable[[Tensor], Tensor]
Rows = NDArray[Any]

SHIPPED = Path(models.__file__).parent / "weights"
NAMES = ("mnist", "mnist-2d", "fashion-mnist")
ARCHITECTURES: dict[str, dict[str, Any]] = {"mlp": {"hidden": [16]}, "conv": {"channels": [4, 8], "hidden": 16}}
LIKELIHOODS: list[tuple[str, dict[str, Any]]] = [
    ("bernoulli", {}),
    ("continuous_bernoulli", {}),
    ("gaussian", {"sigma": 0.1}),
    ("gaussian", {"sigma": "learned"}),
    ("gaussian", {"sigma": "optimal"}),
]
MAX_BATCH = 64


def latents(vae: VAE) -> Rows:
    return seeds.standard_normal(0, MAX_BATCH, vae.config.latent_dim)


def pictures(vae: VAE) -> Rows:
    """float32 in [0, 1]: grey noise, and what the model draws."""
    x = np.random.default_rng(0).random((MAX_BATCH, *vae.config.shape), np.float32)
    with torch.inference_mode():
        x[::2] = vae.decode(torch.from_numpy(latents(vae)[::2])).mean.numpy().clip(0, 1)
    return x


def encoder(vae: VAE) -> Function:
    def encode(x: Tensor) -> Tensor:
        posterior = vae.encode(x)
        return torch.stack([posterior.mu, posterior.sigma, posterior.logvar], dim=1)

    return encode


def check(function: Function, rows: Rows, wanted_rows: Rows | None = None) -> None:
    """Within the tolerance of torch, and the same bits in every batch size, from several places of the rows."""
    program = OnnxProgram(start_sessions(function, rows[:16] if wanted_rows is None else wanted_rows[:16], 1), rows)
    answers = program([rows], MAX_BATCH)
    with torch.inference_mode():
        wanted = function(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(answers, wanted, TOLERANCE, TOLERANCE)
    for bucket in range(1, MAX_BATCH + 1):
        for start in {0, (MAX_BATCH - bucket) // 2, MAX_BATCH - bucket}:
            part = program([rows[start : start + bucket]], bucket)
            np.testing.assert_array_equal(part, answers[start : start + bucket], f"{bucket} rows from {start}")
            part = program([rows[start : start + 1], rows[start + 1 : start + bucket - 1]], bucket)
            np.testing.assert_array_equal(part, answers[start : start + len(part)], f"not full, {bucket} rows from {start}")


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> VAE:
    return models.load(SHIPPED / request.param).requires_grad_(False)


def test_a_shipped_encoder(shipped: VAE) -> None:
    check(encoder(shipped), pictures(shipped))


def test_a_shipped_encoder_of_bytes(shipped: VAE) -> None:
    """One session serves both kinds of pictures."""
    floats = pictures(shipped)
    check(encoder(shipped), np.rint(floats * 255).astype(np.uint8), floats)


def test_a_shipped_decoder(shipped: VAE) -> None:
    check(lambda z: shipped.decode(z).mean.permute(0, 2, 3, 1).contiguous(), latents(shipped))


@pytest.mark.parametrize(
    ("arch", "likelihood", "options"),
    [(arch, *kind) for arch in ARCHITECTURES for kind in LIKELIHOODS if (arch, kind[0]) != ("conv", "continuous_bernoulli")],
)
def test_a_colour_model(arch: str, likelihood: str, options: dict[str, Any]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vae = VAE(VAEConfig((3, 12, 16), 4, arch, ARCHITECTURES[arch], likelihood, options))
    vae.eval().requires_grad_(False)
    check(encoder(vae), pictures(vae))
    check(lambda z: vae.decode(z).mean.permute(0, 2, 3, 1).contiguous(), 3 * latents(vae))


def threads_of(session: Any) -> int:
    threads: int = session.get_session_options().intra_op_num_threads
    return threads


def test_more_threads_give_the_same_bits(shipped: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_program, "LEAST_SHARED_SECONDS", 0)
    monkeypatch.setattr(onnx_program, "CLEARLY", math.inf)
    for function, rows in ((encoder(shipped), pictures(shipped)), (lambda z: shipped.decode(z).mean, latents(shipped))):
        one, two = start_sessions(function, rows, 1), start_sessions(function, rows, 1, 2)
        assert (threads_of(one.of(1)), threads_of(two.of(1))) == (1, 2)
        for bucket in range(1, MAX_BATCH + 1):
            alone, shared = (OnnxProgram(sessions, rows)([rows[:bucket]], bucket) for sessions in (one, two))
            np.testing.assert_array_equal(alone, shared)


def test_small_batches_keep_their_threads(shipped: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_program, "CLEARLY", math.inf)
    monkeypatch.setattr(
        onnx_program, "_race", lambda sessions, rows: [(0.001, onnx_program._run(one, rows)) for one in sessions]
    )
    monkeypatch.setattr(onnx_program, "LEAST_SHARED_SECONDS", 0.0004)
    sessions = start_sessions(encoder(shipped), pictures(shipped)[:30], 1, 2)
    assert [threads_of(sessions.of(rows)) for rows in (1, 11, 12, 30)] == [1, 1, 2, 2]


@pytest.mark.parametrize(("short_seconds", "least_seconds"), [(0.0, 0.0), (math.inf, math.inf)])
def test_batches_that_are_long_or_tiny_keep_their_threads(
    short_seconds: float, least_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_program, "LEAST_SHARED_SECONDS", least_seconds)
    monkeypatch.setattr(onnx_program, "CLEARLY", math.inf)
    assert threads_of(start_sessions(lambda x: x + 1, examples(), 1, 2, short_seconds).large) == 1


def test_more_threads_that_give_other_bits_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_program, "LEAST_SHARED_SECONDS", 0)
    monkeypatch.setattr(onnx_program, "CLEARLY", math.inf)
    run = onnx_program._run
    monkeypatch.setattr(onnx_program, "_run", lambda session, rows: run(session, rows) + 1e-7 * (threads_of(session) == 2))
    assert threads_of(start_sessions(lambda x: x / 1000, examples(), 1, 2).large) == 1


def test_an_answer_is_not_overwritten_by_the_next_batch() -> None:
    rows = np.ones((8, 3), np.float32)
    program = OnnxProgram(start_sessions(lambda x: x, rows, 1), rows)
    first = program([rows[:2]], 8)
    program([0 * rows[:2]], 8)
    np.testing.assert_array_equal(first, rows[:2])


def test_it_tells_nobody(tmp_path: Path) -> None:
    """By itself, ONNX Runtime keeps an identifier and reports in the home directory, and a thread that sends them."""
    program = (
        "import numpy\n"
        "from service.engine.programs.onnx_program import start_sessions\n"
        "start_sessions(lambda x: x + 1, numpy.ones((2, 3), numpy.float32), 1)\n"
    )
    root = Path(models.__file__).parent.parent
    # nothing of the environment but this: some variables (CI, for one) silence it too
    done = subprocess.run([sys.executable, "-c", program], env={"HOME": str(tmp_path), "PYTHONPATH": str(root)}, timeout=120)
    assert done.returncode == 0
    assert list(tmp_path.rglob("*")) == []


# --- what it cannot compute


def no_export(x: Tensor) -> Tensor:
    answers: Tensor = torch.special.bessel_j0(x)
    return answers


def other_value(x: Tensor) -> Tensor:
    """A function that gives other values when it is exported."""
    return x * 2 if torch.onnx.is_in_onnx_export() else x * 2.001


def no_number(x: Tensor) -> Tensor:
    return x.clone() if torch.onnx.is_in_onnx_export() else x * float("nan")


UNUSABLE = [no_export, other_value, no_number]


def examples(rows: int = 16) -> Rows:
    return seeds.standard_normal(1, rows, 3)


@pytest.mark.parametrize("function", UNUSABLE)
def test_what_it_cannot_compute_is_said(function: Function) -> None:
    with pytest.raises(
        OnnxUnusable, match=r"ONNX Runtime cannot compute this model: .|of ONNX Runtime differ from torch's by up to ."
    ):
        start_sessions(function, examples(), 1)


def test_a_difference_within_the_tolerance_is_none() -> None:
    sessions = start_sessions(lambda x: x * (1 if torch.onnx.is_in_onnx_export() else 1 + TOLERANCE / 2), examples(), 1)
    np.testing.assert_array_equal(OnnxProgram(sessions, examples())([examples()], 16), examples())


def started(engine: EngineName, precision: Precision = "float32") -> Device:
    device = Device("cpu", 1, QueueLimits(32, 256, 128), engine, precision)
    device.start()
    return device


@pytest.mark.parametrize("function", UNUSABLE)
async def test_torch_computes_what_it_cannot_unless_it_was_asked_for(
    function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    device = started("auto")
    assert device.engine == "onnx"
    with caplog.at_level(logging.WARNING):
        (lane,) = await device.lanes(function, examples(32))
    assert ["torch is used instead" in record.getMessage() for record in caplog.records] == [True]
    with torch.inference_mode():
        wanted = function(torch.from_numpy(examples(32))).numpy()
    np.testing.assert_allclose(await lane.submit(examples(32)), wanted, rtol=1e-4)
    await device.close()
    device = started("onnx")
    with pytest.raises(DeviceUnusable, match="ONNX Runtime"):
        await device.lanes(function, examples(32))
    await device.close()


async def test_no_warning_where_it_can(caplog: pytest.LogCaptureFixture) -> None:
    device = started("auto")
    with caplog.at_level(logging.WARNING):
        await device.lanes(lambda x: x * 2, examples(32))
    assert caplog.records == []
    await device.close()


# --- the choice of the engine


@pytest.mark.parametrize(
    ("engine", "precision", "chosen"),
    [
        ("auto", "float32", "onnx"),
        ("auto", "bf16", "torch"),
        ("auto", "tf32", "torch"),
        ("torch", "float32", "torch"),
        ("onnx", "float32", "onnx"),
    ],
)
def test_auto_means_onnx_on_the_cpu(engine: EngineName, precision: Precision, chosen: str) -> None:
    assert is_installed()
    assert Device("cpu", 1, engine=engine, precision=precision).engine == chosen


@pytest.mark.parametrize("device", [Device("cpu", 1, engine="onnx", precision="bf16"), Device("cuda", 1, engine="onnx")])
def test_onnx_is_refused_where_it_cannot_be(device: Device) -> None:
    with pytest.raises(DeviceUnusable, match="the engine onnx computes only in float32 on the CPU"):
        device.start()


def test_where_it_is_not_installed_auto_means_torch_and_onnx_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.onnx_graph.find_spec", lambda name: None)
    assert Device("cpu", 1).engine == "torch"
    with pytest.raises(OnnxUnusable, match=r"pip install 'vae-service\[onnx\]'"):
        start_sessions(lambda x: x, examples(), 1)


async def test_bf16_answers_are_near_and_alike(weights: Path) -> None:
    """Less exact, but never dependent on who else is served."""
    vae = models.load(weights / "grey").requires_grad_(False)
    device = started("auto", "bf16")
    (lane,) = await device.lanes(lambda z: vae.decode(z).mean, latents(vae)[:32])
    together = await lane.submit(latents(vae))
    alone = np.concatenate([await lane.submit(row[None]) for row in latents(vae)])
    np.testing.assert_array_equal(together, alone)
    with torch.inference_mode():
        wanted = vae.decode(torch.from_numpy(latents(vae))).mean.numpy()
    assert 0 < np.abs(together - wanted).max() < 0.02
    await device.close()


async def test_rows_of_uint8_run_in_the_batches_that_were_checked_with_floats(weights: Path) -> None:
    vae = models.load(weights / "grey")
    floats = pictures(vae)
    greys = np.rint(floats * 255).astype(np.uint8)
    device = started("onnx")
    whole, exact = await device.lanes(encoder(vae), greys, floats)
    assert whole.max_batch == exact.max_batch
    np.testing.assert_array_equal(await whole.submit(greys), await exact.submit(greys.astype(np.float32) / np.float32(255)))
    for rows in (1, 5, 23):
        np.testing.assert_array_equal(await whole.submit(greys[:rows]), (await whole.submit(greys))[:rows])
    await device.close()
