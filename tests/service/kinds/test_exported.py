"""Exported models: ONNX Runtime alone gives what `/encode` and `/decode` answer, for every kind."""

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from models.checkpoint import read
from models.export.__main__ import main
from models.kinds.text import END
from models.onnx_graph import onnx_runtime
from tests.service.kinds.kind_requests import BY_MODEL

TOLERANCE = 1e-5
KINDS = ("penguins", "strokes", "lines")


@pytest.fixture(scope="module")
def exported(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model's ONNX files has the name of the model."""
    out = tmp_path_factory.mktemp("onnx")
    for name in (*KINDS, "grey"):
        assert main([str(kinds / name), "--onnx", "--out", str(out / name)]) == 0
    return out


def run(path: Path, **inputs: Any) -> list[Any]:
    answers: list[Any] = onnx_runtime().InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)
    return answers


async def posted(client: httpx.AsyncClient, path: str, **kwargs: Any) -> httpx.Response:
    answer = await client.post(path, **kwargs)
    assert answer.status_code == 200, answer.text
    return answer


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


async def test_pictures(exported: Path, client: httpx.AsyncClient) -> None:
    x = np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8)
    served = np.load(io.BytesIO((await posted(client, "/encode?model=grey&format=npy", content=npy(x))).content))
    mu, sigma, _ = run(exported / "grey" / "encoder.onnx", x=x[:, None])
    np.testing.assert_allclose(mu, served[0], TOLERANCE, TOLERANCE)
    np.testing.assert_allclose(sigma, served[1], TOLERANCE, TOLERANCE)
    answer = await posted(client, "/decode?model=grey&format=npy&dtype=float32", content=npy(served[0]))
    (mean,) = run(exported / "grey" / "decoder.onnx", z=served[0])
    np.testing.assert_allclose(mean[:, 0], np.load(io.BytesIO(answer.content))[..., 0], TOLERANCE, TOLERANCE)


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_encoded(name: str, exported: Path, kinds: Path, client: httpx.AsyncClient) -> None:
    """The preprocessing of the checkpoint makes rows, as a caller must."""
    about, spec = BY_MODEL[name], read(kinds / name).manifest.preprocessing
    served = (await posted(client, f"/encode?model={name}", json={about.many: about.items})).json()
    mu, sigma, _ = run(exported / name / "encoder.onnx", x=spec.rows(about.items))
    np.testing.assert_allclose(mu, served["mu"], TOLERANCE, TOLERANCE)
    np.testing.assert_allclose(sigma, served["sigma"], TOLERANCE, TOLERANCE)


async def test_decoded_rows_of_a_table(exported: Path, kinds: Path, client: httpx.AsyncClient) -> None:
    spec = read(kinds / "penguins").manifest.preprocessing
    z = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    served = (await posted(client, "/decode?model=penguins", json={"z": z.tolist()})).json()["rows"]
    (mean,) = run(exported / "penguins" / "decoder.onnx", z=z)
    for found, wanted in zip(spec.items(mean), served, strict=True):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert found[key] == (pytest.approx(value, rel=TOLERANCE) if isinstance(value, float) else value)


async def test_decoded_texts_step_by_step(exported: Path, kinds: Path, client: httpx.AsyncClient) -> None:
    spec = read(kinds / "lines").manifest.preprocessing
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    served = (await posted(client, "/decode?model=lines", json={"z": z.tolist()})).json()["texts"]
    (state,) = run(exported / "lines" / "decoder-start.onnx", z=z)
    made = np.full((5, spec.max_length + 1), END, np.int16)  # before the first step stands the end
    alive = np.ones(5, bool)
    for step in range(spec.max_length):
        outputs, state = run(exported / "lines" / "decoder-step.onnx", state=state, previous=made[:, step])
        outputs[:, END] = -np.inf if step == 0 else outputs[:, END]
        made[:, step + 1] = np.where(alive, outputs.argmax(1), END)
        alive &= made[:, step + 1] != END
    assert spec.items(made[:, 1:]) == served
    assert len(set(served)) > 1


def test_steps_of_drawings_have_the_parameters_of_the_model(exported: Path, kinds: Path) -> None:
    import torch

    vae = read(kinds / "strokes").vae
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    likelihood: Any = vae.decode(z)
    drawn = likelihood.mean[:, :8]  # (5, 8, 3)
    wanted = likelihood.decoding.teacher_forced(drawn)  # (5, 9, outputs)
    (state,) = run(exported / "strokes" / "decoder-start.onnx", z=z.numpy())
    previous = np.tile(np.array([0, 0, 2], np.float32), (5, 1))
    for step in range(9):
        outputs, state = run(exported / "strokes" / "decoder-step.onnx", state=state, previous=previous)
        np.testing.assert_allclose(outputs, wanted[:, step], TOLERANCE, TOLERANCE)
        previous = drawn[:, min(step, 7)].numpy()
