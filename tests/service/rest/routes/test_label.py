"""The parameter `label`: what a conditional model is told, by every operation that encodes or decodes."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from vae_client import AsyncClient, BatchFailed, InvalidRequest

from models import VAE, VAEConfig, checkpoint
from models.condition import Condition
from models.distributions import DiagonalGaussian
from models.golden import write_golden
from models.mixture import GaussianMixture, write_prior
from service.app import create_app
from service.latents import noise
from service.settings import Settings

VALUES = ("round", "7", "flat")
KIND = Condition("shape", VALUES, (5, 1, 2))
X = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
Z = noise.standard_normal(1, 4, 3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditional models, "told" (mlp, with a golden answer) and "planes" (conv, with a fitted prior), and "plain"."""
    path = tmp_path_factory.mktemp("conditional")
    torch.manual_seed(0)
    checkpoint.save(path / "told", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, condition=KIND)))
    x = torch.from_numpy(X[:, None])
    write_golden(path / "told", checkpoint.read(path / "told"), x, None, torch.tensor([0, 1, 2, 2]))
    conv = {"channels": [4, 8], "hidden": 16}
    checkpoint.save(path / "planes", VAE(VAEConfig((1, 8, 8), 3, "conv", conv, condition=KIND)))
    mixture = GaussianMixture(torch.tensor([1.0]), torch.zeros(1, 3), torch.eye(3)[None])
    write_prior(path / "planes", mixture, checkpoint.read(path / "planes").digest, {}, None)
    checkpoint.save(path / "plain", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    return path


@pytest.fixture
async def client(directory: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        models_dir=directory, default_model="told", device="cpu", threads=1, max_batch=64, max_queue_rows=256, max_rows=128,
        store=str(tmp_path / "latents.db"),
    )  # fmt: skip
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 30)
        assert app.state.failure == ""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


NPY = {"content-type": "application/x-npy"}


async def pixels(client: httpx.AsyncClient, path: str, **more: Any) -> NDArray[np.float32]:
    accept = {"accept": "application/x-npy", **more.pop("headers", {})}
    answer = await client.post(path, headers=accept, **more)
    assert answer.status_code == 200, answer.text
    found: NDArray[np.float32] = np.load(io.BytesIO(answer.content))
    return found


def posterior(directory: Path, model: str, labels: list[int]) -> DiagonalGaussian:
    return checkpoint.load(directory / model).given(torch.tensor(labels)).encode(torch.from_numpy(X[:, None]))


@pytest.mark.parametrize("model", ["told", "planes"])
async def test_encode_is_told_one_label_or_one_for_each(client: httpx.AsyncClient, directory: Path, model: str) -> None:
    for label, labels in (("flat", [2]), ('["round","7","flat",7]', [0, 1, 2, 1])):
        answer = await client.post("/encode", content=npy(X), headers=NPY, params={"model": model, "label": label})
        assert answer.status_code == 200, answer.text
        wanted = posterior(directory, model, labels)
        np.testing.assert_allclose(answer.json()["mu"], wanted.mu.numpy(), rtol=1e-4, atol=1e-5)
    floats = (X / 255).astype(np.float32)
    again = await client.post("/encode", content=npy(floats), headers=NPY, params={"model": model, "label": label})
    assert again.json()["mu"] == answer.json()["mu"]


@pytest.mark.parametrize("model", ["told", "planes"])
async def test_decode_is_told_and_a_list_of_labels_is_json(client: httpx.AsyncClient, directory: Path, model: str) -> None:
    vae = checkpoint.load(directory / model)
    for label, labels in ((7, [1]), (["flat", 7, 7, "round"], [2, 1, 1, 0])):
        made = await pixels(client, f"/decode?model={model}&dtype=float32", json={"z": Z.tolist(), "label": label})
        mean = vae.given(torch.tensor(labels)).decode(torch.from_numpy(Z)).mean.permute(0, 2, 3, 1)
        np.testing.assert_allclose(made, mean.numpy(), rtol=1e-4, atol=1e-5)


async def test_style_transfer_encodes_with_one_label_and_decodes_with_another(
    client: httpx.AsyncClient, directory: Path
) -> None:
    mu = (await client.post("/encode?label=round", content=npy(X), headers=NPY)).json()["mu"]
    made = await pixels(client, "/decode?label=flat&dtype=float32", json={"z": mu})
    vae = checkpoint.load(directory / "told")
    wanted = vae.given(torch.tensor([2])).decode(posterior(directory, "told", [0]).mu).mean.permute(0, 2, 3, 1)
    np.testing.assert_allclose(made, wanted.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["told", "planes"])
async def test_an_answer_is_the_same_alone_and_among_64(client: httpx.AsyncClient, model: str) -> None:
    many, labels = np.concatenate([X] * 16), [VALUES[i % 3] for i in range(64)]
    path = f"/encode?model={model}"
    alone = client.post(path, content=npy(X[1:2]), headers=NPY, params={"label": labels[1]})
    form = {"label": str(labels).replace("'", '"')}
    crowd = client.post(path, content=npy(many), headers=NPY, params=form)
    one, all_ = [answer.json() for answer in await asyncio.gather(alone, crowd)]
    assert (one["mu"][0], one["sigma"][0]) == (all_["mu"][1], all_["sigma"][1])
    z = np.concatenate([Z] * 16)
    single = pixels(client, f"/decode?model={model}&dtype=float32", json={"z": Z[1:2].tolist(), "label": labels[1]})
    every = pixels(client, f"/decode?model={model}&dtype=float32", json={"z": z.tolist(), "label": labels})
    first, rest = await asyncio.gather(single, every)
    np.testing.assert_array_equal(first[0], rest[1])


async def test_sample_of_a_label_and_of_labels_that_the_seed_draws(client: httpx.AsyncClient) -> None:
    asked = (await client.get("/sample?n=3&seed=5&label=7&include=z")).json()
    assert asked["labels"] == ["7", "7", "7"]
    np.testing.assert_array_equal(np.float32(asked["z"]), noise.standard_normal(5, 3, 3))
    each = (await client.get("/sample", params={"n": 3, "seed": 5, "label": '["flat",7,"round"]'})).json()
    assert (each["labels"], each["images"][1]) == (["flat", "7", "round"], asked["images"][1])
    drawn = (await client.post("/sample", json={"n": 64, "seed": 5})).json()
    wanted = KIND.drawn(noise.label_uniform(5, 64))
    assert drawn["labels"] == [VALUES[i] for i in wanted]
    assert set(drawn["labels"]) == set(VALUES)
    fewer = (await client.get("/sample?n=3&seed=5")).json()
    assert (fewer["labels"], fewer["images"]) == (drawn["labels"][:3], drawn["images"][:3])


async def test_the_fitted_prior_of_a_conditional_model_serves_all_labels(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/sample?model=planes&seed=1&label=flat")).json()
    assert (answer["prior"], answer["labels"]) == ("aggregate", ["flat"])
    assert "label" not in answer


def test_words_of_labels_are_those_of_nothing_else() -> None:
    """Test vectors: a label must not change with a version, nor be the noise of the latent."""
    assert [f"{u:.6f}" for u in noise.label_uniform(5, 3)] == [f"{u:.6f}" for u in noise.label_uniform(5, 4)[:3]]
    assert noise.label_uniform(5, 1)[0] != noise.normal_and_uniform(5, 1, 0)[1][0]
    found = noise.label_uniform(7, 2)  # Philox words of the keys (7, 0) and (7, 1), counter (1, 0, 0, 3)
    np.testing.assert_allclose(found, [0.27019622095902107, 0.05313281256859825], rtol=1e-12)


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/encode?label=oval", npy(X), "the model 'told' has no label 'oval'. Choose round, 7 or flat."),
        ("/encode", npy(X), "label is missing: the model 'told' must be told the shape of each item. Add label, one of round"),
        ("/encode?label=[7,7]", npy(X), "label has 2 entries for 4 items: give one for all, or one for each."),
        ("/encode?label=[]", npy(X), "label must be a text, a whole number, or a list of these"),
        ("/encode?label=[7", npy(X), "label must be a text, a whole number, or a list of these"),
        ("/encode?label={}", npy(X), "has no label '{}'"),
        ("/decode", npy(Z), "label is missing"),
        ("/decode?label=[7,7]", npy(Z), "label has 2 entries for 4 items"),
        ("/reconstruct", npy(X), "label is missing"),
        ("/score", npy(X), "label is missing"),
        ("/encode?model=plain&label=7", npy(X), "the model 'plain' is not conditional, so it takes no label here"),
        ("/decode?model=plain&label=7", npy(Z), "the model 'plain' is not conditional"),
        ("/reconstruct?model=plain&label=7", npy(X), "the model 'plain' is not conditional"),
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, path: str, body: bytes, detail: str) -> None:
    answer = await client.post(path, content=body, headers=NPY)
    assert (answer.status_code, detail in answer.json()["detail"]) == (422, True), answer.text


async def test_samples_that_are_refused(client: httpx.AsyncClient) -> None:
    for query, code in (("label=oval", "no_such_label"), ("n=2&label=[7]", ""), ("n=3&label=[7,7]", "no_such_label")):
        answer = await client.get(f"/sample?{query}")
        assert answer.status_code == (422 if code else 200)
        assert not code or answer.json()["code"] == code
    plain = await client.get("/sample?model=plain&label=7")
    assert (plain.status_code, plain.json()["code"]) == (422, "no_such_label")


async def test_reconstruct_score_and_paths_keep_the_label(client: httpx.AsyncClient, directory: Path) -> None:
    vae, own = checkpoint.load(directory / "told"), posterior(directory, "told", [0, 1, 2, 0])
    labels = '["round",7,"flat","round"]'
    made = await pixels(client, "/reconstruct", content=npy(X), headers=NPY, params={"label": labels, "dtype": "float32"})
    mean = vae.given(torch.tensor([0, 1, 2, 0])).decode(own.mu).mean.permute(0, 2, 3, 1)
    np.testing.assert_allclose(made, mean.numpy(), rtol=1e-3, atol=1e-4)
    query: dict[str, str | int] = {"label": labels, "scores": "iwae,regret,deviance", "samples": 4}
    scored = (await client.post("/score", content=npy(X), headers=NPY, params=query)).json()["scores"]
    alone = await client.post("/score", content=npy(X[2:3]), headers=NPY, params={**query, "label": "flat"})
    for name, values in scored.items():
        assert values["value"][2] == alone.json()["scores"][name]["value"][0]
    ends = {"start": {"z": Z[0].tolist()}, "end": {"z": Z[1].tolist()}}
    frames = await pixels(client, "/interpolate?label=7&steps=3&dtype=float32", json=ends)
    wanted = vae.given(torch.tensor([1])).decode(torch.from_numpy(Z[:2])).mean.permute(0, 2, 3, 1)
    np.testing.assert_allclose(frames[[0, 2]], wanted.numpy(), rtol=1e-3, atol=1e-4)
    for path, body in (("/traverse?label=7&steps=3", {}), ("/manifold?label=7&n=3&dims=0,1", None)):
        answer = await (client.get(path) if body is None else client.post(path, json=body))
        assert answer.status_code == 200, answer.text


async def test_a_collection_keeps_the_label_of_each_item(client: httpx.AsyncClient, directory: Path) -> None:
    await client.put("/collections/some", json={"model": "told"})
    added = await client.post(
        "/collections/some/items?label=flat",
        json={"items": [{"id": "a", "mu": Z[0].tolist()}, {"id": "b", "mu": Z[1].tolist()}]},
    )
    assert added.status_code == 200, added.text
    stated = {"items": [{"id": "c", "mu": Z[2].tolist(), "metadata": {"shape": 7, "note": 1}}]}
    assert (await client.post("/collections/some/items", json=stated)).status_code == 200
    assert (await client.get("/collections/some/items/a")).json()["metadata"] == {"shape": "flat"}
    assert (await client.get("/collections/some/items/c")).json()["metadata"] == {"shape": 7, "note": 1}
    vae = checkpoint.load(directory / "told")
    found = (await client.post("/collections/some/search?include=image", json={"mu": Z[2].tolist(), "k": 1})).json()
    png = await client.post("/decode?label=7", json={"z": [Z[2].tolist()]})
    assert found["neighbors"][0]["image"] == png.json()["images"][0]
    path = await pixels(
        client, "/interpolate?collection=some&steps=2&dtype=float32", json={"start": {"id": "a"}, "end": {"id": "b"}}
    )
    wanted = vae.given(torch.tensor([2])).decode(torch.from_numpy(Z[:2])).mean.permute(0, 2, 3, 1)
    np.testing.assert_allclose(path, wanted.numpy(), rtol=1e-3, atol=1e-4)
    mixed = await client.post("/interpolate?collection=some", json={"start": {"id": "a"}, "end": {"id": "c"}})
    assert mixed.status_code == 422
    assert "the points have the labels 7, flat, and all frames of a path have one" in mixed.json()["detail"]
    for body, reason in (
        ({"items": [{"mu": Z[0].tolist()}]}, "item 0 has no label"),
        ({"label": "7", "items": [{"mu": Z[0].tolist(), "metadata": {"shape": "flat"}}]}, "its metadata says 'flat'"),
        ({"items": [{"mu": Z[0].tolist(), "metadata": {"shape": "oval"}}]}, "has no label 'oval'"),
        ({"label": [7, 7], "items": [{"mu": Z[0].tolist()}]}, "label has 2 entries for 1 items"),
    ):
        answer = await client.post("/collections/some/items", json=body)
        assert (answer.status_code, reason in answer.json()["detail"]) == (422, True), answer.text


async def test_models_say_what_they_must_be_told(client: httpx.AsyncClient) -> None:
    told = (await client.get("/models/told")).json()
    assert (told["condition"], told["labels"]) == ("shape", list(VALUES))
    plain = (await client.get("/models/plain")).json()
    assert (plain["condition"], plain["labels"]) == (None, [])


async def test_a_plain_model_answers_the_same_bytes_on_the_shortcut(client: httpx.AsyncClient) -> None:
    """The direct way leaves everything with a label to the operation."""
    body = npy(Z[:1])
    direct = await client.post("/decode?model=plain", content=body, headers=NPY)
    assert direct.status_code == 200
    assert (await client.post("/decode?model=plain&label=7", content=body, headers=NPY)).status_code == 422
    assert (await client.post("/decode?model=told&label=7", content=body, headers=NPY)).status_code == 200


async def test_the_python_client_says_it_everywhere(client: httpx.AsyncClient) -> None:
    caller = AsyncClient("http://test", transport=client._transport)
    labels = ["round", "flat", "7", "round"]
    posteriors = await caller.encode(X, label=labels)
    alone = await caller.encode(X[1], label="flat")
    assert posteriors.mu[1].tolist() == alone.mu[0].tolist()
    many = await caller.encode_many(X, label=np.array(labels), batch_size=3)  # type: ignore[arg-type]
    assert many.mu.tolist() == posteriors.mu.tolist()
    decoded = await caller.decode(Z, label=labels)
    assert decoded.pixels[2].tolist() == (await caller.decode(Z[2], label=7)).pixels[0].tolist()
    assert len(await caller.reconstruct(X, label=labels)) == 4
    assert len(await caller.score_many(X, scores="elbo", seed=1, label=labels, batch_size=3)) == 4
    assert len(await caller.interpolate(X[0], X[1], steps=3, label="7")) == 3
    assert len(await caller.traverse(dims=[0], steps=3, label="7")) == 3
    assert len(await caller.manifold(dims=[0, 1], n=2, label="7")) == 4
    assert len(await caller.combine([X[0], X[1]], label="7")) == len(await caller.barycenter([X[0], X[1]], label="7")) == 1
    assert len(await caller.sample(2, label=["7", "flat"], include="z")) == 2
    await caller.put_collection("labelled")
    await caller.add_many("labelled", X, ids=list("abcd"), label=labels, batch_size=3)
    assert [item.metadata["shape"] async for item in caller.items("labelled")] == labels
    assert len(await caller.search("labelled", X[0], label="7", k=2)) == 2
    with pytest.raises(BatchFailed, match="no more labels"):
        await caller.encode_many(X, label=labels[:3], batch_size=2)
    with pytest.raises(InvalidRequest, match="shape"):
        await caller.encode(X)


async def test_a_number_with_a_point_is_no_label(client: httpx.AsyncClient) -> None:
    for query, body in (("", {"label": 7.0}), ("", {"label": [7.0]}), ("?label=7.0", {})):
        refused = await client.post(f"/decode{query}", content=json.dumps({"z": [[0, 0, 0]], **body}))
        assert refused.status_code == 422, body
    assert (
        "must be a text, a whole number, or a list of these, not 7.0"
        in (await client.post("/decode", content='{"z": [[0, 0, 0]], "label": 7.0}')).json()["detail"]
    )
