"""Every endpoint answers for every kind, with the key of the kind, and says what a model takes if it gets something else."""

from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from tests.service.kinds.kind_requests import KINDS, About

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS]),
]


async def ok(client: httpx.AsyncClient, method: str, path: str, **more: object) -> httpx.Response:
    answer = await client.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return answer


async def test_encode_decode_sample_interpolate_reconstruct(client: httpx.AsyncClient, about: About) -> None:
    model, many, items = f"model={about.model}", about.many, about.items
    posterior = (await ok(client, "POST", f"/encode?{model}&include=kl,z&seed=1", json={many: items})).json()
    alone = (await ok(client, "POST", f"/encode?{model}", json={about.one: items[1]})).json()
    assert [posterior["mu"][1]] == alone["mu"]
    assert len(posterior["kl"]) == len(posterior["z"]) == len(items)
    decoded = (await ok(client, "POST", f"/decode?{model}", json={"z": posterior["mu"]})).json()
    assert len(decoded[many]) == len(items)
    assert [type(one) for one in decoded[many]] == [type(one) for one in items]
    sampled = (await ok(client, "GET", f"/sample?{model}&n=3&seed=5&include=z")).json()
    assert (await ok(client, "GET", f"/sample?{model}&n=3&seed=5&include=z")).json() == sampled
    assert (await ok(client, "GET", f"/sample?{model}&n=2&seed=5")).json()[many] == sampled[many][:2]
    ends = {"start": {about.one: items[0]}, "end": {"z": posterior["mu"][2]}}
    path = (await ok(client, "POST", f"/interpolate?{model}&steps=3", json=ends)).json()
    assert path[many][-1] == decoded[many][2]
    assert path["method"] == ("linear" if about.many == "rows" else "slerp")
    made = (await ok(client, "POST", f"/reconstruct?{model}&compare=true&cells=all", json={many: items})).json()
    assert made[many] == decoded[many]
    assert len(made["originals"]) == len(items)


async def test_the_same_again_from_what_was_answered(client: httpx.AsyncClient, about: About) -> None:
    """What /sample answers can be sent to /encode."""
    sampled = (await ok(client, "GET", f"/sample?model={about.model}&n=4&seed=3")).json()[about.many]
    sent = [one for one in sampled if one]  # A drawing may end before it begins.
    await ok(client, "POST", f"/encode?model={about.model}", json={about.many: sent})


async def test_formats(client: httpx.AsyncClient, about: About) -> None:
    own = (await ok(client, "GET", f"/models/{about.model}")).json()["takes"]
    assert own["list"] == about.many
    for form in own["formats"]:
        answer = await ok(client, "GET", f"/sample?model={about.model}&n=3&seed=5&format={form}")
        assert form in answer.headers["content-type"] or form == "txt"
        path = {"start": {about.one: about.items[0]}, "end": {about.one: about.items[2]}}
        await ok(client, "POST", f"/interpolate?model={about.model}&format={form}", json=path)
    await ok(client, "POST", f"/interpolate?model={about.model}&format=gif", json=path)
    refused = await client.get(f"/sample?model={about.model}&format=npy")
    assert refused.status_code == 422
    assert "which are answered as json, " in refused.json()["detail"]
    browser = await ok(client, "GET", f"/sample?model={about.model}", headers={"accept": "text/html,*/*"})
    assert browser.headers["content-type"] == "image/png"


async def test_collections_and_search(client: httpx.AsyncClient, about: About) -> None:
    await ok(client, "PUT", f"/collections/{about.model}?model={about.model}")
    items = [{"id": f"{i}", about.one: item, "metadata": {"label": i % 2}} for i, item in enumerate(about.items)]
    added = (await ok(client, "POST", f"/collections/{about.model}/items", json={"items": items})).json()
    assert added["added"] == [item["id"] for item in items]
    query = {about.one: about.items[0], "k": 2, "include": [about.one, "image"]}
    found = (await ok(client, "POST", f"/collections/{about.model}/search", json=query)).json()["neighbors"]
    assert (found[0]["id"], found[0]["distance"]) == ("0", 0)
    assert found[0]["image"].startswith("iVBOR")
    mu = (await ok(client, "POST", f"/encode?model={about.model}", json={about.one: about.items[0]})).json()["mu"]
    assert [found[0][about.one]] == (await ok(client, "POST", f"/decode?model={about.model}", json={"mu": mu})).json()[
        about.many
    ]
    several = {"queries": [{about.one: item} for item in about.items], "k": 1}
    nearest = (await ok(client, "POST", f"/collections/{about.model}/search", json=several)).json()["results"]
    assert [one["neighbors"][0]["id"] for one in nearest] == [item["id"] for item in items]
    refused = await client.post(f"/collections/{about.model}/search", json={"image": "AAAA"})
    assert (refused.status_code, "known are" in refused.json()["detail"]) == (422, True)


async def test_work_on_latents(client: httpx.AsyncClient, about: About) -> None:
    await ok(client, "PUT", f"/collections/{about.model}?model={about.model}")
    items = [{"id": f"{i}", about.one: item} for i, item in enumerate(about.items)]
    await ok(client, "POST", f"/collections/{about.model}/items", json={"items": items})
    sides = {"positive": {about.many: about.items[:2]}, "negative": {about.many: about.items[1:3]}}
    await ok(client, "PUT", f"/collections/{about.model}/directions/up", json=sides)
    edit = {about.many: about.items[:1], "directions": {"up": 1.0}, "collection": about.model}
    assert about.many in (await ok(client, "POST", "/edit", json=edit)).json()
    terms = {"terms": [{about.one: about.items[0]}, {about.one: about.items[2], "weight": -1}]}
    assert about.many in (await ok(client, "POST", f"/combine?model={about.model}", json=terms)).json()
    points = {"points": [{about.one: about.items[0]}, {"id": "2"}], "collection": about.model}
    assert about.many in (await ok(client, "POST", "/barycenter", json=points)).json()
    walk = (
        await ok(client, "POST", f"/traverse?model={about.model}&dims=0,1&steps=3", json={about.one: about.items[0]})
    ).json()
    assert len(walk[about.many]) == 6
    assert len(walk["traversed" if about.many == "rows" else "rows"]) == 2
    assert len((await ok(client, "GET", f"/manifold?model={about.model}&n=2&format=json")).json()[about.many]) == 4
    file = (await ok(client, "POST", f"/compress?model={about.model}", json={about.many: about.items})).content
    assert len((await ok(client, "POST", "/decompress", content=file)).json()[about.many]) == len(about.items)
    density = (await ok(client, "POST", f"/collections/{about.model}/density", json={about.one: about.items[0]})).json()
    assert len(density["log_density"]) == 1
    graph = {
        "start": {about.one: about.items[0]},
        "end": {"id": "2"},
        "method": "graph",
        "collection": about.model,
        "steps": 3,
    }
    assert len((await ok(client, "POST", "/interpolate", json=graph)).json()[about.many]) == 3


async def test_only_pictures_are_kept(client: httpx.AsyncClient, app: FastAPI, about: About) -> None:
    path = f"/collections/keep-{about.model}"
    refused = await client.put(path, json={"model": about.model, "keep": "picture"})
    assert (refused.status_code, "leave keep out" in refused.json()["detail"]) == (422, True)
    await ok(client, "PUT", path, json={"model": about.model, "keep": "nothing"})
    store = app.state.service.store  # An older service took it.
    await store.create(replace(await store.collection(f"keep-{about.model}"), keep="picture"))
    await ok(client, "POST", f"{path}/items", json={"items": [{about.one: item} for item in about.items]})


async def test_scores(client: httpx.AsyncClient, about: About) -> None:
    path = f"/score?model={about.model}"
    company = (await ok(client, "POST", f"{path}&scores=elbo,iwae&samples=3", json={about.many: about.items})).json()["scores"]
    own = (await ok(client, "POST", path, json={about.many: about.items})).json()["scores"]
    assert list(own) == (["surprise"] if about.many == "rows" else ["nll"])
    for i, item in enumerate(about.items):
        alone = (await ok(client, "POST", f"{path}&scores=elbo,iwae&samples=3", json={about.one: item})).json()["scores"]
        assert [alone[name]["value"][0] for name in alone] == [company[name]["value"][i] for name in company]
    refused = await client.post(f"{path}&scores=regret", json={about.many: about.items})
    assert (refused.status_code, "has no score regret" in refused.json()["detail"]) == (422, True)


async def test_data_of_another_kind_are_refused_with_what_the_model_takes(client: httpx.AsyncClient, about: About) -> None:
    for sent in (
        {"content": b"\x89PNG\r\n\x1a\n"},
        *({"json": {other.many: other.items}} for other in KINDS if other is not about),
        {"json": {"images": ["AAAA"]}},
    ):
        for path in ("/encode", "/reconstruct", "/score", "/compress"):
            refused = await client.post(f"{path}?model={about.model}", **sent)  # type: ignore[arg-type]
            assert refused.status_code == 422
            assert f"{about.model!r} is a model of " in refused.json()["detail"]
            assert f'send {{"{about.many}"' in refused.json()["detail"]
    refused = await client.post("/encode?model=grey", json={about.many: about.items})
    assert (refused.status_code, "'grey' is a model of pictures" in refused.json()["detail"]) == (422, True)
    refused = await client.post(f"/encode?model={about.model}&invert=yes", json={about.many: about.items})
    assert (refused.status_code, "invert is for pictures" in refused.json()["detail"]) == (422, True)


async def test_metrics_weigh_reconstructions(client: httpx.AsyncClient, about: About) -> None:
    for _ in range(6):
        await ok(client, "POST", f"/reconstruct?model={about.model}", json={about.many: about.items})
    metrics = (await ok(client, "GET", "/metrics")).text
    count = f'vae_reconstruction_nats_bucket{{le="+Inf",model="{about.model}"'
    (weighed,) = [line for line in metrics.splitlines() if line.startswith(count)]
    assert (float(weighed.split()[-1]) > 0) == (about.many == "rows")
    assert f'lane="encode",model="{about.model}"' in metrics


async def test_examples(client: httpx.AsyncClient, about: About) -> None:
    assert (await ok(client, "GET", f"/models/{about.model}/examples")).json()[about.many] == []
