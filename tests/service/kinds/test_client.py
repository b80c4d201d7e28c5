"""The Python client takes and returns rows, drawings and texts as it does pictures."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from vae_client import AsyncClient, InvalidRequest, Rows, Strokes, Texts

from tests.service.kinds.kind_requests import ADELIE, SQUARE, TRIANGLE
from tests.service.kinds.tiny_models import DATA

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def caller(app: FastAPI) -> AsyncClient:
    return AsyncClient("http://test", transport=httpx.ASGITransport(app))


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (Rows([ADELIE, {"species": "Gentoo"}]), "penguins"),
        (Strokes([TRIANGLE, SQUARE, "M0 0l9 9"]), "strokes"),
        (Texts(["the digits", "a"]), "lines"),
    ],
)
async def test_every_method(caller: AsyncClient, data: Rows, model: str) -> None:
    posteriors = await caller.encode(data, model=model)
    assert (len(posteriors), posteriors.model) == (len(data), model)
    many = await caller.encode_many(data, batch_size=1, model=model)
    assert many.mu.tolist() == posteriors.mu.tolist()
    decoded = await caller.decode(posteriors, model=model)
    assert (type(decoded.items), len(decoded)) == (type(data), len(data))
    assert (await caller.reconstruct(data, cells="all", model=model)).items == decoded.items
    with pytest.raises(AttributeError, match=r"use \.items"):
        len(decoded.pixels)
    drawn = await caller.sample(3, seed=2, include="z", model=model)
    assert (len(drawn), drawn.seed, drawn.z.shape[0]) == (3, 2, 3)  # type: ignore[union-attr]
    assert len((await caller.score(data, model=model)).scores) == 1
    path = await caller.combine([data[:1], data[1:2]], [1, -1], model=model)
    assert (type(path.items), len(path)) == (type(data), 1)
    collection = await caller.put_collection(f"of-{model}", model=model)
    await caller.add(collection.name, data, ids=[f"{i}" for i in range(len(data))])
    found = await caller.search(collection.name, data[:1], k=1, include=data.one)  # type: ignore[arg-type]
    assert decoded.items is not None
    assert (found[0].id, found[0].data) == ("0", decoded.items[0])


async def test_what_is_filled_and_what_goes_on(caller: AsyncClient, tmp_path: Path) -> None:
    made = await caller.reconstruct(Rows({"species": "Gentoo"}), model="penguins")
    assert made.items is not None
    assert made.items[0]["species"] == "Gentoo"
    assert "island" in made.details["filled"][0]
    begun = await caller.complete(Texts(["the", "a"]), 3, seed=1, max_length=9, model="lines")
    assert [len(one) for one in begun] == [3, 3]
    assert all(text.startswith("the") and len(text) <= 9 for text in begun[0])
    short = await caller.sample(2, seed=1, temperature=0, max_length=2, model="strokes")
    assert all(len(one) <= 2 for one in short.items or ())
    (tmp_path / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0l9 9"/></svg>')
    assert len(await caller.encode(Strokes([tmp_path / "a.svg"]), model="strokes")) == 1
    with pytest.raises(InvalidRequest, match="is a model of table rows"):
        await caller.encode(Texts(["a"]), model="penguins")
    with pytest.raises(TypeError, match="must be Strokes"):
        await caller.complete(["the"], model="lines")  # type: ignore[arg-type]


async def test_rows_of_a_file_and_the_column_that_adds_most(caller: AsyncClient, tmp_path: Path) -> None:
    lines = (DATA / "penguins.csv").read_text().splitlines()[:6]
    for name, delimiter in (("a.csv", ","), ("b.csv", ";"), ("c.TSV", "\t")):
        (tmp_path / name).write_text("\n".join(lines).replace(",", delimiter))
    rows = Rows(tmp_path / "a.csv")
    assert len(rows) == 5
    assert rows == Rows(str(tmp_path / "b.csv")) == Rows(tmp_path / "c.TSV")
    scores = await caller.score(rows, model="penguins")
    own = scores.scores["surprise"]
    assert own.columns is not None
    assert own.largest is not None
    for value, columns, largest in zip(own.value, own.columns, own.largest, strict=True):
        assert sum(columns.values()) == pytest.approx(float(value), rel=1e-4)
        assert columns[largest] == max(columns.values())
    many = (await caller.score_many(rows, batch_size=2, model="penguins")).scores["surprise"]
    assert (many.columns, many.largest) == (own.columns, own.largest)
    (tmp_path / "a.csv").write_text("species,year\nGentoo,2007,1\n")
    with pytest.raises(ValueError, match="row 0 has more cells"):
        Rows(tmp_path / "a.csv")
    for wrong in ("Gentoo", ["Gentoo"]):
        with pytest.raises(TypeError, match=r"Rows takes mappings|a row is a mapping"):
            Rows(wrong)
    for mapping in (ADELIE, [ADELIE]):
        with pytest.raises(TypeError, match="rows of a table are Rows"):
            await caller.encode(mapping, model="penguins")  # type: ignore[arg-type]
