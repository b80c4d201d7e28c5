"""/score and the map of a model over HTTP: formats, errors, and what is said without a calibration."""

import io
import json

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.formats import png
from service.formats.npy import npy
from tests.service.conftest import calibration_of_grey

X = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 3), np.uint8)


def problem(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    found = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), found
    assert all(word in found["detail"] for word in words), found["detail"]


async def test_scores_as_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/score", content=npy(X))
    found = answer.raise_for_status().json()
    assert list(found) == ["model", "calibrated", "p_value", "scores"]
    assert (found["model"], found["calibrated"], list(found["scores"])) == ("grey", True, ["knn", "deviance"])
    assert found["scores"]["knn"].keys() == {"value", "p_value", "unit"}
    assert (found["scores"]["knn"]["unit"], found["scores"]["deviance"]["unit"]) == ("distance in latent space", "nats")
    lists = [found["p_value"], *(one[key] for one in found["scores"].values() for key in ("value", "p_value"))]
    assert [len(values) for values in lists] == [3] * 5
    assert all(0.01 <= p <= 1 for p in found["p_value"])
    assert answer.headers["x-model"].startswith("grey@sha256:")
    (again,) = {(await client.post("/score", content=npy(X))).content for _ in range(3)}
    assert again == answer.content


async def test_every_way_to_send_a_picture_gives_the_same(client: httpx.AsyncClient) -> None:
    file = png.write(X[0][:, :, None])
    text = json.loads((await client.post("/decode", json={"z": [[0, 0, 0]]})).text)["images"][0]
    for body, again in (
        ({"content": npy(X[:1])}, {"content": file}),
        ({"content": file}, {"files": {"image": file}}),
        ({"json": {"image": text}}, {"json": {"images": [text], "scores": ["deviance", "knn"]}}),
    ):
        one, other = [(await client.post("/score", **way)).raise_for_status().content for way in (body, again)]
        assert one == other
    asked = (await client.post("/score?scores=deviance,iwae&scores=knn", content=file)).json()
    assert asked["detail"] == "scores is given twice"


async def test_bounds_say_what_they_are(client: httpx.AsyncClient) -> None:
    asked = {"scores": "elbo,iwae,regret", "samples": "6", "seed": "3"}
    found = (await client.post("/score", params=asked, content=npy(X))).raise_for_status().json()
    assert found["p_value"] is None
    elbo, iwae, regret = (found["scores"][name] for name in ("elbo", "iwae", "regret"))
    assert elbo.keys() == {"value", "p_value", "unit", "samples", "seed"}
    assert (iwae["samples"], iwae["seed"], regret["seed"], regret["unit"]) == (6, 3, 3, "nats")
    assert iwae["kind"] == ["bound" if ess < 5 else "likelihood" for ess in iwae["ess"]]
    assert all(1 <= ess <= 6 for ess in iwae["ess"])
    one = (await client.post("/score?scores=elbo", content=npy(X))).json()["scores"]["elbo"]
    assert (one["samples"], one["seed"], len(one["p_value"])) == (8, 0, 3)


async def test_without_a_calibration_it_says_how_to_make_one(client: httpx.AsyncClient) -> None:
    found = (await client.post("/score?model=colour", content=npy(COLOUR))).raise_for_status().json()
    assert (found["calibrated"], found["p_value"], list(found["scores"])) == (False, None, ["reconstruction", "deviance"])
    assert found["scores"]["deviance"]["p_value"] is None
    assert found["note"].startswith("The model has no calibration that fits its weights")
    assert "python -m models.evaluate PATH --calibrate" in found["note"]
    refused = await client.post("/score?model=colour&scores=density", content=npy(COLOUR))
    problem(refused, 409, "no_calibration", "the score density", "'colour' has none that fits its weights", "--calibrate")


async def test_bad_requests(client: httpx.AsyncClient) -> None:
    problem(
        await client.post("/score?scores=nice", content=npy(X)), 422, "invalid_parameter", "scores must be 'knn', 'density'"
    )
    problem(await client.post("/score?score=knn", content=npy(X)), 422, "invalid_parameter", "did you mean scores?")
    problem(await client.post("/score?samples=0", content=npy(X)), 422, "invalid_parameter", "samples")
    problem(await client.post("/score?seed=-1", content=npy(X)), 422, "invalid_parameter", "seed")
    problem(await client.post("/score?format=npy", content=npy(X)), 422, "invalid_parameter", "format must be 'json' or 'png'")
    problem(
        await client.post("/score?scores=elbo&samples=11", content=npy(X)),
        413,
        "too_many_items",
        "send at most 2 items, or use fewer samples",
    )
    asked = await client.post("/score?scores=elbo&samples=100000", content=npy(X[:1]))
    words = "1 item x 100000 decoded latents = 100000; at most 32 are allowed in one request: use fewer samples"
    problem(asked, 413, "too_many_items", words)
    words = "samples is for the scores elbo and iwae, but the scores are deviance, knn: leave it out, or add scores=iwae"
    problem(await client.post("/score?samples=4", content=npy(X)), 422, "invalid_parameter", words)
    problem(await client.post("/score?model=gray", content=npy(X)), 404, "unknown_model", "did you mean grey?")
    problem(await client.post("/score", content=b"hello"), 415, "unsupported_media_type")
    problem(await client.post("/score", content=npy(np.zeros((0, 8, 8), np.uint8))), 422, "unusable_input")
    problem(await client.post("/score?scores=regret&timeout_ms=1", content=npy(X)), 504, "deadline_exceeded")


async def test_warnings_are_passed_on(client: httpx.AsyncClient) -> None:
    found = (await client.post("/score", content=npy(np.zeros((1, 8, 8), np.uint8)))).json()
    assert [one["code"] for one in found["warnings"]] == ["blank"]
    made = await client.post("/score?format=png", content=npy(np.zeros((1, 8, 8), np.uint8)))
    assert made.headers["x-warnings"] == "1"


@pytest.mark.parametrize(("model", "x"), [("grey", X), ("colour", COLOUR)])
async def test_the_picture_beside_its_errors(client: httpx.AsyncClient, model: str, x: NDArray[np.uint8]) -> None:
    asked = f"model={model}&format=png"
    made = await client.post(f"/score?{asked}&layout=column", content=npy(x[:1]))
    means = (await client.post(f"/reconstruct?model={model}&format=npy&dtype=float32", content=npy(x[:1]))).content
    seen = np.asarray(Image.open(io.BytesIO(made.raise_for_status().content))).reshape(x.shape[1], -1, made_channels(x))
    width = x.shape[2]
    picture, errors = seen[:, :width], seen[:, -width:]
    np.testing.assert_array_equal(picture, x[0].reshape(picture.shape))
    wanted = 255 * np.abs(x[0].reshape(picture.shape) / 255 - np.load(io.BytesIO(means))[0])
    np.testing.assert_allclose(errors, wanted, atol=0.51)
    enlarged = await client.post(f"/score?{asked}&scale=3", content=npy(x))
    assert Image.open(io.BytesIO(enlarged.content)).height == 3 * (2 * x.shape[1] + 2)
    browser = await client.post(f"/score?model={model}", content=npy(x), headers={"accept": "text/html,image/png"})
    assert browser.headers["content-type"] == "image/png"


def made_channels(x: NDArray[np.uint8]) -> int:
    return 1 if x.ndim == 3 else 3


async def test_models_say_whether_they_are_calibrated(client: httpx.AsyncClient) -> None:
    colour, grey = (await client.get("/models")).json()["models"]
    assert (colour["calibration"], colour["scores"]) == (None, ["reconstruction", "deviance"])
    assert grey["scores"] == ["knn", "deviance"]
    assert grey["calibration"] == {
        "scores": ["knn", "reconstruction", "deviance", "elbo", "iwae"],
        "latents": 50,
        "record": {"samples": 8, "seed": 0},
    }


async def test_the_map_of_two_dimensions(client: httpx.AsyncClient) -> None:
    known = calibration_of_grey()
    found = (await client.get("/models/grey/map?dims=2,0")).raise_for_status().json()
    assert found["plane"] == {"kind": "dims", "origin": [0, 0, 0], "axes": [[0, 0, 1], [1, 0, 0]], "dims": [2, 0]}
    np.testing.assert_array_equal(np.float32(found["points"]), known.mu[:, [2, 0]])
    assert (found["labels"], found["label_names"]) == ([i % 2 for i in range(50)], ["7", "cat"])
    assert found["record"] == {"samples": 8, "seed": 0}
    points = np.load(io.BytesIO((await client.get("/models/grey/map?plane=dims&format=npy")).content))
    np.testing.assert_array_equal(points, known.mu[:, :2])


async def test_the_map_of_principal_components(client: httpx.AsyncClient) -> None:
    known = calibration_of_grey()
    found = (await client.get("/models/grey/map")).raise_for_status().json()
    plane = found["plane"]
    assert plane["kind"] == "pca"
    centred = known.mu.astype(np.float64) - known.mu.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found["points"]), np.abs(centred @ axes[:2].T), atol=1e-4)
    np.testing.assert_allclose(plane["explained"], np.square(sizes[:2]) / np.square(sizes).sum(), rtol=1e-4)
    placed = (known.mu - np.float32(plane["origin"])) @ np.float32(plane["axes"]).T
    np.testing.assert_allclose(placed, found["points"], atol=1e-4)


async def test_maps_that_are_refused(client: httpx.AsyncClient) -> None:
    problem(
        await client.get("/models/colour/map"), 409, "no_calibration", "'colour' has none that fits its weights", "--calibrate"
    )
    problem(await client.get("/models/gray/map"), 404, "unknown_model", "did you mean grey?")
    problem(await client.get("/models/grey/map?dims=0,3"), 422, "invalid_parameter", "from 0 to 2", "not '0,3'")
    problem(await client.get("/models/grey/map?dims=1,1"), 422, "invalid_parameter", "two different")
    words = "dims must be two different dimensions from 0 to 2, such as 0,1, not '3'"
    problem(await client.get("/models/grey/map?dims=3"), 422, "invalid_parameter", words)
    problem(await client.get("/models/grey/map?plane=pca&dims=0,1"), 422, "invalid_parameter", "leave out one")
    problem(await client.get("/models/grey/map?plan=pca"), 422, "invalid_parameter", "did you mean plane?")
