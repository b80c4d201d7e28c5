"""The methods of both clients on points of the latent space, scores and densities, against the answers of a real service."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import vae_client
from vae_client import BatchFailed, Client, Decoded, Posteriors, Scores

from tests.client.calling import calling
from tests.live.pictures import Pixels, encoded, from_npy, npy, text
from tests.live.server import ROOT, Server

SEVEN, TWO = ROOT / "examples" / "seven.png", ROOT / "examples" / "two.png"
PART = {"part": {"exists": True}}


@pytest.fixture
def name(client: Client, digits: Pixels, request: pytest.FixtureRequest) -> Iterator[str]:
    """A collection of forty digits in two parts, whose ids are their numbers."""
    name = f"{request.node.originalname}-{request.node.callspec.params['client']}"
    client.put_collection(name)
    client.add(name, digits[:40], ids=[f"{i:02}" for i in range(40)], metadata=[{"part": i % 2} for i in range(40)])
    yield name
    client.delete_collection(name)


def post(server: Server, path: str, body: Any, **params: Any) -> Any:
    """The answer to JSON, as JSON or as the array of an npy file."""
    answer = httpx.post(f"{server.url}{path}", json=body, params=params, timeout=60).raise_for_status()
    return from_npy(answer.content) if params.get("format") == "npy" else answer.json()


def get(server: Server, path: str, **params: Any) -> Any:
    answer = httpx.get(f"{server.url}{path}", params=params, timeout=60).raise_for_status()
    return from_npy(answer.content) if params.get("format") == "npy" else answer.json()


def same(found: Decoded, server: Server, path: str, body: Any, **params: Any) -> dict[str, Any]:
    """Whether pictures and latents are those of the interface. Returns its JSON."""
    np.testing.assert_array_equal(found.pixels, post(server, path, body, format="npy", **params))
    answer: dict[str, Any] = post(server, path, body, include="z", **params)
    np.testing.assert_array_equal(found.z, np.float32(answer["z"]))
    assert (found.z.dtype.name if found.z is not None else "", found.model) == ("float32", "mnist")
    return answer


def test_scores(client: Client, server: Server, digits: Pixels) -> None:
    found = client.score(digits[:5])
    answer = httpx.post(f"{server.url}/score", content=npy(digits[:5])).json()
    assert (found.calibrated, found.model, len(found)) == (True, "mnist", 5)
    assert found.scores.keys() == answer["scores"].keys()
    np.testing.assert_array_equal(found.p_value, np.float32(answer["p_value"]))
    for name, one in found.scores.items():
        np.testing.assert_array_equal(one.value, np.float32(answer["scores"][name]["value"]))
        np.testing.assert_array_equal(one.p_value, np.float32(answer["scores"][name]["p_value"]))
        assert one.unit == answer["scores"][name]["unit"]
    bound = client.score(SEVEN, scores="iwae", samples=4, seed=3)
    params: dict[str, Any] = {"scores": "iwae", "samples": 4, "seed": 3}
    other = httpx.post(f"{server.url}/score", content=SEVEN.read_bytes(), params=params).json()["scores"]["iwae"]
    iwae = bound.scores["iwae"]
    assert (bound.p_value, iwae.p_value, iwae.samples, iwae.seed) == (None, None, 4, 3)
    assert iwae.kind == tuple(other["kind"])
    np.testing.assert_array_equal(iwae.value, np.float32(other["value"]))
    np.testing.assert_array_equal(iwae.ess, np.float32(other["ess"]))


def test_many_are_scored_in_order(client: Client, digits: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    asked: Any = ["knn", "deviance", "iwae"]
    whole = client.score(digits[:40], scores=asked, samples=2)
    found = client.score_many((encoded(one) for one in digits[:40]), scores=asked, samples=2, batch_size=7, progress=True)
    assert "40" in capsys.readouterr().err
    for name in asked:
        np.testing.assert_allclose(found.scores[name].value, whole.scores[name].value, rtol=1e-5)
    np.testing.assert_array_equal(found.p_value, whole.p_value)
    assert len(found.scores["iwae"].kind or ()) == 40
    blank = client.score_many(np.zeros((3, 28, 28), np.uint8), batch_size=1).warnings
    assert [one.item for one in blank if one.code == "blank"] == [0, 1, 2]
    assert len(client.score_many([])) == 0
    assert len(client.score_many(digits[:65], scores="regret")) == 65  # The service takes 64.
    with pytest.raises(BatchFailed, match="item 1"):
        client.score_many([SEVEN, b"nonsense"])
    with pytest.raises(vae_client.ModelChanged):
        Scores.join([whole, Scores({}, None, False, "other")])


def test_model_map(client: Client, server: Server) -> None:
    found, answer = client.model_map("mnist"), get(server, "/models/mnist/map")
    np.testing.assert_array_equal(found.points, np.float32(answer["points"]))
    for name in ("origin", "axes"):
        np.testing.assert_array_equal(found.plane[name], answer["plane"][name])
    assert found.labels is not None
    assert found.labels[:9] == tuple(answer["label_names"][label] for label in answer["labels"][:9])
    two = client.model_map("mnist", dims=(3, 7))
    assert two.plane["dims"] == [3, 7]
    np.testing.assert_array_equal(two.points, get(server, "/models/mnist/map", dims="3,7", format="npy"))


def test_compressed_pictures(client: Client, server: Server, digits: Pixels) -> None:
    file = client.compress(digits[:20], step=0.5, sharpen=0)
    params = {"step": 0.5, "sharpen": 0}
    assert file == httpx.post(f"{server.url}/compress", content=npy(digits[:20]), params=params).content
    found = client.decompress(file, details=True)
    np.testing.assert_array_equal(found.pixels, client.decode(found.z).pixels)
    assert found.z is not None
    np.testing.assert_allclose(found.z, client.encode(digits[:20]).mu, atol=0.5)
    answer = httpx.post(f"{server.url}/decompress", content=file, params={"include": "z"}).json()
    np.testing.assert_array_equal(found.z, np.float32(answer["z"]))
    assert client.decompress(io.BytesIO(file), dtype="float32").pixels.dtype.name == "float32"


def test_directions_and_edits(client: Client, server: Server, name: str, digits: Pixels) -> None:
    made = client.put_direction(name, "odd", {"part": 1}, {"part": 0})
    path = f"/collections/{name}/directions"
    answer = get(server, f"{path}/odd")
    np.testing.assert_array_equal(made.vector, np.float32(answer["vector"]))
    assert (made.auc, made.unit, made.positive) == (answer["auc"], answer["unit"], answer["positive"])
    mu = client.encode(digits[:8]).mu
    pictures = client.put_direction(name, "pictures", digits[:4], mu[4:], method="logistic_regression", orthogonal_to="odd")
    assert (pictures.positive["source"], pictures.negative["source"]) == ("images", "latents")
    assert made.vector is not None
    assert pictures.vector is not None
    assert abs(made.vector @ pictures.vector) < 1e-5
    listed = client.directions(name)
    assert ([one.name for one in listed], listed[0].vector) == (["odd", "pictures"], None)
    assert client.direction(name, "pictures").orthogonal_to == ("odd",)
    body = {"points": [{"id": "00"}, {"id": "01"}], "collection": name, "directions": {"odd": 2}, "keep": ["pictures"]}
    found = client.edit([{"id": "00"}, {"id": "01"}], {"odd": 2}, collection=name, keep=["pictures"], details=True)
    same(found, server, "/edit", body)
    moved = client.edit(mu, {"odd": 1.5}, collection=name, details=True)
    assert moved.z is not None
    np.testing.assert_allclose(moved.z, mu + 1.5 * made.unit * made.vector, atol=1e-5)
    np.testing.assert_array_equal(client.edit(digits[:8], {"odd": 1.5}, collection=name).pixels, moved.pixels)
    assert client.edit(SEVEN, {"odd": 1}, collection=name, pixels="sample", seed=3).seed == 3
    assert client.delete_direction(name, "pictures").name == "pictures"
    with pytest.raises(vae_client.NotFound):
        client.direction(name, "pictures")
    with pytest.raises(TypeError, match="not both"):
        client.put_direction(name, "mixed", [SEVEN, mu[0]], mu)


def test_sums_and_means(client: Client, server: Server, name: str) -> None:
    seven, two = client.encode(SEVEN), client.encode(TWO)
    picture = {"image": text(SEVEN.read_bytes())}
    found = client.combine([SEVEN, {"id": "00"}, two.mu], [1, -1, 0.5], collection=name, details=True)
    terms = [picture, {"id": "00", "weight": -1}, {"z": two.mu[0].tolist(), "weight": 0.5}]
    same(found, server, "/combine", {"terms": terms, "collection": name})
    mean = client.barycenter([SEVEN, two], details=True)
    assert mean.z is not None
    np.testing.assert_allclose(mean.z, (seven.mu + two.mu) / 2, atol=1e-6)
    points = [{**picture, "weight": 3}, {"id": "00", "weight": 1}]
    found = client.barycenter([seven, {"id": "00"}], [3, 1], method="w2", collection=name, details=True)
    assert found.z is not None
    answer = post(server, "/barycenter", {"points": points, "method": "w2", "collection": name})
    for key in ("mu", "sigma"):
        np.testing.assert_allclose(found.details[key], np.float32(answer[key]), atol=1e-6)
    with pytest.raises(ValueError, match="zip"):
        client.combine([SEVEN, TWO], [1])


def test_traversals_and_planes(client: Client, server: Server, name: str) -> None:
    found = client.traverse({"id": "03"}, dims=[7, 3], steps=3, over="point", span=1.5, collection=name, details=True)
    body = {"points": [{"id": "03"}], "dims": "7,3", "steps": 3, "over": "point", "span": 1.5, "collection": name}
    assert found.details["rows"] == same(found, server, "/traverse", body)["rows"]
    assert found.pixels.shape == (6, 28, 28, 1)
    same(client.traverse(dims="top:2", details=True), server, "/traverse", {"dims": "top:2"})
    local = client.traverse(client.encode(SEVEN), dims="local:2", over="posterior", steps=5, details=True)
    assert [row["item"] for row in local.details["rows"]] == [0, 0]
    plane = client.manifold(dims=(7, 3), n=4, collection=name, item="03", details=True)
    params = {"dims": "7,3", "n": 4, "collection": name, "item": "03"}
    np.testing.assert_array_equal(plane.pixels, get(server, "/manifold", format="npy", **params))
    answer = get(server, "/manifold", format="json", include="z", **params)
    np.testing.assert_array_equal(plane.details["values"], np.float32(answer["values"]))
    np.testing.assert_array_equal(plane.z, np.float32(answer["z"]))


def test_paths(client: Client, server: Server, name: str) -> None:
    ids = [{"id": f"{i:02}"} for i in range(4)]
    tour = client.interpolate(points=ids[:3], steps=7, collection=name, details=True)
    answer = same(tour, server, "/interpolate", {"points": ids[:3], "steps": 7, "collection": name})
    assert (answer["method"], tour.details["method"]) == ("linear", "linear")
    measured = post(server, "/interpolate", {"points": ids[:3], "steps": 7, "collection": name}, include="log_density")
    np.testing.assert_array_equal(tour.details["log_density"], np.float32(measured["log_density"]))
    square = client.interpolate(corners=ids, steps=3, collection=name, details=True)
    same(square, server, "/interpolate", {"corners": ids, "steps": 3, "collection": name})
    assert len(square) == 9
    graph = client.interpolate(SEVEN, ids[1], method="graph", density_weight=1, collection=name, steps=6, details=True)
    body = {"start": {"image": text(SEVEN.read_bytes())}, "end": ids[1], "method": "graph", "density_weight": 1, "steps": 6}
    answer = same(graph, server, "/interpolate", {**body, "collection": name})
    assert (graph.details["ids"], graph.details["length"]) == (answer["ids"], answer["length"])
    assert len(client.interpolate(client.encode(SEVEN), np.zeros(20), steps=5)) == 5
    for arguments in ({}, {"start": SEVEN}, {"points": ids, "corners": ids}):
        with pytest.raises(TypeError, match="either a start and an end"):
            client.interpolate(**arguments)


def test_densities(client: Client, server: Server, name: str, digits: Pixels) -> None:
    found = client.density(name, [digits[50], {"id": "00"}], k=2, bandwidth=0.5, filter=PART)
    queries = [{"image": text(encoded(digits[50]))}, {"id": "00"}]
    answer = post(server, f"/collections/{name}/density", {"queries": queries, "k": 2, "bandwidth": 0.5, "filter": PART})
    np.testing.assert_array_equal(found.log_density, answer["log_density"])
    np.testing.assert_array_equal(found.percentile, answer["percentile"])
    assert found.ids == tuple(map(tuple, answer["ids"]))
    assert (found.log_density.dtype.name, found.count, found.bandwidth, found.bandwidth_sample) == ("float64", 40, 0.5, None)
    far = client.density(name, Posteriors(np.full((1, 20), 1e4, np.float32), np.ones((1, 20), np.float32)), bandwidth=1e-3)
    assert far.log_density[0] < -1e6
    with pytest.warns(vae_client.UnknownKeyWarning, match="did you mean 'part'"):
        assert np.isneginf(client.density(name, digits[:1], filter={"prat": 1}, bandwidth=1).log_density).all()
    body: dict[str, Any] = {"a": {"part": 0}, "b": {"part": 1}, "limit": 15}
    compared, other = (
        client.compare(name, {"part": 0}, {"part": 1}, limit=15),
        post(server, f"/collections/{name}/compare", body),
    )
    for key in ("log_ratio", "log_density_a", "log_density_b", "in_a", "in_b"):
        np.testing.assert_array_equal(getattr(compared, key), other[key])
    assert (compared.ids, compared.cursor, compared.a) == (tuple(other["ids"]), other["cursor"], other["a"])
    assert client.compare(name, {"part": 0}, {"part": 1}, cursor=compared.cursor).ids[0] == "15"
    there = client.compare(name, {"part": 0}, {"part": 1}, digits[50:53])
    assert (there.ids, there.cursor, there.log_ratio.shape) == ((None,) * 3, None, (3,))


def test_maps_and_coverage(client: Client, server: Server, name: str) -> None:
    path = f"/collections/{name}"
    found, answer = client.map(name, keys="part", limit=30), get(server, f"{path}/map", keys="part", limit=30)
    np.testing.assert_array_equal(found.points, np.float32(answer["points"]))
    np.testing.assert_array_equal(found.plane["axes"], answer["plane"]["axes"])
    assert (found.ids, found.metadata, found.count) == (tuple(answer["ids"]), answer["metadata"], 40)
    np.testing.assert_array_equal(client.map(name, dims=(0, 3)).points, get(server, f"{path}/map", dims="0,3", format="npy"))
    grid = client.density_map(name, 16, dims=(0, 3), bandwidth=0.5, prior="standard")
    params = {"density": 16, "dims": "0,3", "bandwidth": 0.5, "prior": "standard"}
    density, holes = get(server, f"{path}/map", format="npy", **params)
    np.testing.assert_allclose(grid.density, density, rtol=1e-12)
    np.testing.assert_array_equal(grid.holes, holes.astype(bool))
    assert (grid.prior_density.shape, grid.holes.dtype.name, grid.items) == ((16, 16), "bool", 40)
    assert list(grid.x_range) == get(server, f"{path}/map", **params)["x_range"]
    covered = client.coverage(name, draws=50, seed=3, filter=PART)
    answer = get(server, f"{path}/coverage", draws=50, seed=3)
    assert {key: getattr(covered, key) for key in answer} == answer


def test_the_collection_says_the_model(server: Server) -> None:
    """A client with a model of its own need not name that of a collection or of a file."""
    with calling("sync", server.url, model="absent") as client:
        client.put_collection("named", model="mnist")
        client.add("named", SEVEN, ids="seven", model="mnist")
        assert len(client.traverse({"id": "seven"}, dims=[1], steps=2, collection="named")) == 2
        assert len(client.decompress(client.compress(SEVEN, model="mnist"))) == 1
        client.delete_collection("named")
