"""What only tables have: CSV, missing cells, draws of cells, and the column that adds most to the surprise."""

import csv
import io

import httpx
import pytest

from tests.service.kinds.kind_requests import ADELIE

pytestmark = pytest.mark.asyncio(loop_scope="session")

CSV = {"content-type": "text/csv"}
TEXT = ",".join(ADELIE) + "\n" + ",".join(map(str, ADELIE.values())) + "\n"
PENGUINS = "model=penguins"


async def test_csv_is_read_whatever_its_content_type(client: httpx.AsyncClient) -> None:
    wanted = (await client.post(f"/encode?{PENGUINS}", json={"row": ADELIE})).json()["mu"]
    for headers in (CSV, {"content-type": "text/plain"}, {}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = await client.post(f"/encode?{PENGUINS}", content=TEXT, headers=headers)
        assert answer.json()["mu"] == wanted
    form = await client.post(f"/encode?{PENGUINS}", files=[("rows", ("a.csv", TEXT)), ("rows", ("b.csv", TEXT))])
    assert form.json()["mu"] == wanted * 2
    stored = await client.put(f"/collections/p?{PENGUINS}")
    assert stored.status_code == 200
    assert (await client.post("/collections/p/items?id=one", content=TEXT, headers=CSV)).json()["ids"] == ["one"]
    found = (await client.post("/collections/p/search?k=1", content=TEXT, headers=CSV)).json()
    assert found["neighbors"][0]["distance"] == 0


async def test_csv_that_is_answered_can_be_sent(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/sample?{PENGUINS}&n=3&seed=1", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["species"] for row in rows] == [
        row["species"] for row in (await client.get(f"/sample?{PENGUINS}&n=3&seed=1")).json()["rows"]
    ]
    assert len((await client.post(f"/encode?{PENGUINS}", content=answer.content, headers=CSV)).json()["mu"]) == 3


async def test_missing_cells_are_filled_and_named(client: httpx.AsyncClient) -> None:
    row = {**ADELIE, "body_mass_g": None, "sex": "NA"}
    found = (await client.post(f"/reconstruct?{PENGUINS}", json={"rows": [row, ADELIE]})).json()
    assert found["filled"] == [["body_mass_g", "sex"], []]
    assert found["rows"][1] == ADELIE
    filled = found["rows"][0]
    assert {name: filled[name] for name in ADELIE if name not in found["filled"][0]} == {
        name: value for name, value in ADELIE.items() if name not in found["filled"][0]
    }
    assert filled["sex"] in ("female", "male")
    assert 2000 < filled["body_mass_g"] < 7000
    whole = (await client.post(f"/reconstruct?{PENGUINS}&cells=all", json={"rows": [row]})).json()["rows"][0]
    assert whole["bill_length_mm"] != ADELIE["bill_length_mm"]
    drawn = await client.post(f"/reconstruct?{PENGUINS}&cells=all&pixels=sample&seed=3", json={"rows": [row]})
    assert drawn.json()["rows"][0] != whole


async def test_cells_that_were_sent_are_answered_exactly(client: httpx.AsyncClient) -> None:
    row = {**ADELIE, "bill_length_mm": 39.123456, "body_mass_g": 3333.333, "species": " Adelie", "sex": None}
    found = (await client.post(f"/reconstruct?{PENGUINS}", json={"rows": [row]})).json()["rows"][0]
    assert found == {**row, "sex": found["sex"]}
    text = "body_mass_g,bill_length_mm\n-3333.3330,39.123456\n"
    answer = await client.post(f"/reconstruct?{PENGUINS}&format=csv", content=text, headers=CSV)
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["body_mass_g"], line["bill_length_mm"]) == ("-3333.3330", "39.123456")
    warned = (await client.post(f"/encode?{PENGUINS}", json={"rows": [{"year": 1}]})).json()["warnings"]
    assert "'year': 1 is far outside" in warned[0]["detail"]
    for path in (f"/reconstruct?{PENGUINS}&view=picture", f"/reconstruct?{PENGUINS}&compare=true&format=png"):
        assert (await client.post(path, json={"rows": [row]})).status_code == 200


async def test_a_filled_csv_keeps_the_columns_that_the_model_ignores(client: httpx.AsyncClient) -> None:
    text = 'tag,species,sex,note\n007,Adelie,NA,"seen, twice"\nx8,,male,\n'
    for more in ("", "&cells=all"):
        answer = await client.post(f"/reconstruct?{PENGUINS}&format=csv{more}", content=text, headers=CSV)
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert list(rows[0]) == ["tag", "note", *ADELIE]
        assert [(row["tag"], row["note"]) for row in rows] == [("007", "seen, twice"), ("x8", "")]
        assert all(row[name] for row in rows for name in ADELIE)
    other = f"sex,tag\nmale,{'9' * 30}\n"
    files = [("rows", ("a.csv", text)), ("rows", ("b.csv", other)), ("rows", ("c.csv", TEXT))]
    answer = await client.post(f"/reconstruct?{PENGUINS}&format=csv", files=files)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["tag"], row["note"]) for row in rows] == [("007", "seen, twice"), ("x8", ""), ("9" * 30, ""), ("", "")]
    drawn = await client.post(f"/reconstruct?{PENGUINS}&format=csv", content=TEXT, headers=CSV)
    assert drawn.text.splitlines()[0] == ",".join(ADELIE)
    in_json = await client.post(f"/reconstruct?{PENGUINS}", content=text, headers=CSV)
    assert list(in_json.json()["rows"][0]) == list(ADELIE)
    wrong = await client.post(f"/reconstruct?{PENGUINS}&format=csv", content=text.replace("tag", "tags"), headers=CSV)
    assert (wrong.status_code, "unknown column 'tags'" in wrong.json()["detail"]) == (422, True)


async def test_files_of_spreadsheets_are_read_as_in_training(client: httpx.AsyncClient) -> None:
    wanted = (await client.post(f"/encode?{PENGUINS}", json={"row": {"species": "Adelie", "bill_length_mm": 39.5}})).json()
    text = "species;bill_length_mm\r\nAdelie;39,5\r\n"
    for content in (text.encode("utf-16"), text.encode("utf-8-sig"), text.encode("cp1252")):
        assert (await client.post(f"/encode?{PENGUINS}", content=content, headers=CSV)).json()["mu"] == wanted["mu"]
    for encoding in ("utf-16-le", "utf-32"):
        refused = await client.post(f"/encode?{PENGUINS}", content=text.encode(encoding), headers=CSV)
        assert refused.status_code == 400
        assert "zero bytes" in refused.json()["detail"]


async def test_long_csv_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    for text in ("year\n" + "2008\n" * 30_000, "year\n" + "\n" * 100_000):
        refused = await client.post(f"/encode?{PENGUINS}", content=text, headers=CSV)
        assert refused.status_code == 413
        assert refused.json()["detail"].startswith("the request has more than 64 items")
    late = "year,sex\n" + "\n" * 100_000
    assert (await client.post(f"/encode?{PENGUINS}&timeout_ms=1", content=late, headers=CSV)).status_code == 504


async def test_the_unusual_column_is_named(client: httpx.AsyncClient) -> None:
    odd = {**ADELIE, "species": "Gentoo"}
    found = (await client.post(f"/score?{PENGUINS}", json={"rows": [ADELIE, odd]})).json()["scores"]["surprise"]
    assert found["value"][1] > found["value"][0]
    assert found["largest"][1] == "species"
    for value, columns in zip(found["value"], found["columns"], strict=True):
        assert sum(columns.values()) == pytest.approx(value, rel=1e-5)
    many = await client.post(f"/score?{PENGUINS}", json={"rows": [ADELIE] * 40 + [odd]})  # 41 rows x 8 columns in parts
    assert many.json()["scores"]["surprise"]["value"][-1] == found["value"][1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"species": "Adele"}, "item 1: column 'species': 'Adele' is not a known category; did you mean 'Adelie'?"),
        ({"specie": "Adelie"}, "item 1: unknown column 'specie'; did you mean 'species'?"),
        ({"year": "soon"}, "item 1: column 'year': 'soon' is not a number"),
        ([1, 2], "item 1: a row must be an object with a value for each column, not an array"),
    ],
)
async def test_cells_that_cannot_be_right(client: httpx.AsyncClient, row: object, words: str) -> None:
    for path in ("/encode", "/reconstruct", "/score"):
        answer = await client.post(f"{path}?{PENGUINS}", json={"rows": [ADELIE, row]})
        assert (answer.status_code, answer.json()["item"]) == (422, 1)
        assert words in answer.json()["detail"]
    items = await client.put(f"/collections/p?{PENGUINS}")
    items = await client.post("/collections/p/items", json={"items": [{"row": ADELIE}, {"row": row}]})
    assert (items.status_code, items.json()["item"]) == (422, 1)


async def test_numbers_far_outside_are_warned_of(client: httpx.AsyncClient) -> None:
    answer = (await client.post(f"/encode?{PENGUINS}", json={"rows": [ADELIE, {**ADELIE, "body_mass_g": 99999}]})).json()
    (found,) = answer["warnings"]
    assert (found["item"], found["code"]) == (1, "out_of_range")
    assert "column 'body_mass_g': 99999" in found["detail"]


NAMED = "id,town,beds,zip," + TEXT.splitlines()[0] + "\n"
LINE = "," + TEXT.splitlines()[1] + "\n"


async def test_ids_and_metadata_of_columns(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"/collections/named?{PENGUINS}")).status_code == 200
    path, text = "/collections/named/items", NAMED + f'a/1,"Oslo, N",3,0150{LINE}' + f"7,NA,2.5,0151{LINE}"
    unknown = await client.post(f"{path}?id_column=id", content=text, headers=CSV)
    assert (unknown.status_code, "unknown column 'town'" in unknown.json()["detail"]) == (422, True)
    added = await client.post(f"{path}?id_column=id&metadata_columns=town,beds,zip", content=text, headers=CSV)
    assert added.json()["ids"] == ["a/1", "7"]
    found = (await client.get(path)).json()["items"]
    assert {one["id"]: one["metadata"] for one in found} == {
        "a/1": {"town": "Oslo, N", "beds": 3, "zip": "0150"},
        "7": {"beds": 2.5, "zip": "0151"},
    }
    again = await client.post(f"{path}?id_column=id&metadata_columns=*", content=text, headers=CSV)
    assert again.json()["replaced"] == ["a/1", "7"]
    query = {"row": ADELIE, "k": 1, "filter": {"beds": {"gte": 3}}}
    (nearest,) = (await client.post("/collections/named/search", json=query)).json()["neighbors"]
    assert (nearest["id"], sorted(nearest["metadata"])) == ("a/1", ["beds", "town", "zip"])


@pytest.mark.parametrize(
    ("query", "sent", "words"),
    [
        ("id_column=ident", NAMED + f"a,b,3,1{LINE}", "there is no column 'ident'; the columns are"),
        ("id_column=zipp", NAMED + f"a,b,3,1{LINE}", "there is no column 'zipp'; did you mean 'zip'?"),
        ("id_column=id&metadata_columns=*", NAMED + f",b,3,1{LINE}", "row 0 has no id: its cell in the column 'id' is ''"),
        ("id_column=id&metadata_columns=*", NAMED + f"a,b,3,1{LINE}" * 2, "the id 'a' is also the id of item 0"),
        ("id_column=id&metadata_columns=*", NAMED + f"..,b,3,1{LINE}", "has '.' or '..' between its slashes"),
        ("id_column=id&metadata_columns=*", NAMED + "a,b,3,1\n", "has 4 cells, the header names 12 columns"),
        ("id_column=id", {"items": [{"row": ADELIE}]}, "in JSON each item has its own id"),
    ],
)
async def test_columns_that_cannot_name_rows(client: httpx.AsyncClient, query: str, sent: object, words: str) -> None:
    await client.put(f"/collections/named?{PENGUINS}")
    body = {"content": sent, "headers": CSV} if isinstance(sent, str) else {"json": sent}
    answer = await client.post(f"/collections/named/items?{query}", **body)
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text


async def test_files_are_the_ends_of_a_path(client: httpx.AsyncClient) -> None:
    files = {"start": ("a.csv", TEXT), "end": ("b.csv", TEXT.replace("181", "200"))}
    path = await client.post(f"/interpolate?{PENGUINS}&steps=3", files=files)
    ends = {name: {"row": {**ADELIE, "flipper_length_mm": size}} for name, size in (("start", 181), ("end", 200))}
    assert path.json() == (await client.post(f"/interpolate?{PENGUINS}&steps=3", json=ends)).json()
    files["end"] = ("b.csv", TEXT + TEXT.splitlines()[1])
    refused = await client.post(f"/interpolate?{PENGUINS}", files=files)
    assert "the file in 'end' has 2 table rows, but an end of a path is one" in refused.json()["detail"]
    files["end"] = ("b.csv", "\x89PNG")
    refused = await client.post(f"/interpolate?{PENGUINS}", files=files)
    assert (refused.status_code, "b'" in refused.json()["detail"]) == (422, False)
