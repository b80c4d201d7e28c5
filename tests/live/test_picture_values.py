"""Drawings as web pages send them, and deep greys: read as the model's pictures are, or with a warning."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from .pictures import decoded, from_npy, npy, text

SIDE = 280


def canvas(background: tuple[int, ...], ink: tuple[int, ...], side: int = SIDE) -> bytes:
    """A seven, as PNG."""
    image = Image.new("RGBA" if len(ink) == 4 else "RGB", (side, side), background)
    lines = [(0.27 * side, 0.27 * side), (0.7 * side, 0.27 * side), (0.43 * side, 0.8 * side)]
    ImageDraw.Draw(image).line(lines, ink, max(1, round(0.08 * side)), "curve")
    return saved(image)


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


TRANSPARENT = canvas((0, 0, 0, 0), (0, 0, 0, 255))
ON_WHITE = canvas((255, 255, 255), (0, 0, 0))
ON_BLACK = canvas((0, 0, 0), (255, 255, 255))
BLANK = canvas((0, 0, 0), (0, 0, 0), 28)


def kl(client: httpx.Client, data: bytes, **parameters: str) -> tuple[float, list[dict[str, Any]] | None]:
    answer = client.post("/encode", content=data, params={"include": "kl", **parameters}).raise_for_status()
    assert "x-warnings" not in answer.headers
    return answer.json()["kl"][0], answer.json().get("warnings")


def test_a_drawing_on_transparent_is_one_on_black(client: httpx.Client) -> None:
    nats, warnings = kl(client, TRANSPARENT)
    assert (nats, warnings) == (kl(client, ON_BLACK)[0], None)
    assert 10 < nats < 45
    for parameters in ({"background": "white", "invert": "yes"}, {"background": "white", "invert": "auto"}):
        other, warnings = kl(client, TRANSPARENT, **parameters)
        assert other == pytest.approx(nats, abs=0.1)
        assert warnings is None


def test_a_drawing_on_white_is_told_to_invert(client: httpx.Client) -> None:
    nats, warnings = kl(client, ON_WHITE)
    assert nats > 72
    assert warnings is not None
    assert [(one["item"], one["code"]) for one in warnings] == [(0, "unusual")]
    assert "the model's test pictures have 9 to 37. " in warnings[0]["detail"]
    assert warnings[0]["detail"].endswith(" The picture looks inverted: try invert=yes")
    for invert in ("yes", "auto"):
        assert kl(client, ON_WHITE, invert=invert)[1] is None
    assert kl(client, ON_BLACK, invert="auto") == kl(client, ON_BLACK)


def test_nothing_to_see_is_said(client: httpx.Client) -> None:
    _, warnings = kl(client, TRANSPARENT, background="black")
    assert warnings is not None
    assert warnings[0] == {
        "item": 0,
        "code": "blank",
        "detail": "all pixels are equal (0) after blending the transparent picture with black; try another background",
    }
    for data in (BLANK, saved(Image.open(io.BytesIO(BLANK)), "GIF"), npy(np.zeros((1, 28, 28), np.uint8))):
        warnings = kl(client, data)[1]
        assert warnings is not None
        assert warnings[0] == {"item": 0, "code": "blank", "detail": "all pixels are equal (0)"}


@pytest.mark.parametrize("side", [28, 280, 900])  # of the model's size, small, and decoded by a process
def test_the_way_of_decoding_does_not_matter(client: httpx.Client, side: int) -> None:
    drawing = canvas((255, 255, 255), (0, 0, 0), side)
    assert (warnings := kl(client, drawing)[1]) is not None
    assert warnings[0]["detail"].endswith("try invert=yes")
    assert kl(client, drawing, invert="yes")[1] is None


def test_parameters_may_be_in_the_body(client: httpx.Client) -> None:
    expected = client.post("/encode?invert=yes", content=ON_WHITE).content
    assert client.post("/encode", json={"images": [text(ON_WHITE)], "invert": "yes"}).content == expected
    assert client.post("/encode", files={"image": ON_WHITE}, data={"invert": "yes"}).content == expected
    refused = client.post("/encode?background=blue", content=ON_WHITE)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter")
    assert client.get("/sample?invert=yes").status_code == 422


def test_arrays_are_inverted_too(client: httpx.Client, digits: np.ndarray[Any, Any]) -> None:
    expected = client.post("/encode", content=npy(digits[:3])).content
    assert client.post("/encode?invert=yes", content=npy(255 - digits[:3])).content == expected
    mixed = np.stack([digits[0], 255 - digits[1], digits[2]])
    assert client.post("/encode?invert=auto", content=npy(mixed)).content == expected


def test_warnings_do_not_depend_on_company(client: httpx.Client) -> None:
    pictures = [ON_BLACK, ON_WHITE, BLANK, TRANSPARENT] * 6
    alone = [client.post("/encode", content=data).json().get("warnings", []) for data in pictures]
    answer = client.post("/encode", json={"images": [text(data) for data in pictures]})
    expected = [{**warning, "item": i} for i, found in enumerate(alone) for warning in found]
    assert answer.json()["warnings"] == expected
    assert {warning["item"] % 4 for warning in expected} == {1, 2}


def test_other_answers_have_the_count(client: httpx.Client) -> None:
    files = [("image", ON_WHITE), ("image", ON_BLACK), ("image", ON_WHITE)]
    reconstructions = [f"/reconstruct?format={form}" for form in ("npy", "png", "png&compare=1")]
    for path in ("/encode?format=npy", *reconstructions):
        assert client.post(path, files=files).raise_for_status().headers["x-warnings"] == "2", path
        assert "x-warnings" not in client.post(f"{path}&invert=auto", files=files).raise_for_status().headers
    answer = client.post("/reconstruct", files=files)
    assert [warning["item"] for warning in answer.json()["warnings"]] == [0, 2]
    found = client.post("/interpolate", files={"start": ON_BLACK, "end": ON_WHITE}).json()
    assert [warning["item"] for warning in found["warnings"]] == [1]


def test_a_reconstruction_shows_what_the_model_saw(client: httpx.Client) -> None:
    seen = client.post("/reconstruct?format=png&compare=true", content=TRANSPARENT).content
    inverted = client.post("/reconstruct?format=png&compare=true&invert=yes", content=ON_WHITE).content
    assert np.abs(decoded(seen).astype(int) - decoded(inverted)).max() <= 8
    (mu, _) = from_npy(client.post("/encode?format=npy", content=TRANSPARENT).content)
    assert np.isfinite(mu).all()


def test_deep_greys_on_another_scale(client: httpx.Client) -> None:
    values = np.asarray(Image.open(io.BytesIO(ON_BLACK)).convert("L").resize((28, 28)))
    for data, code, detail in (
        (
            saved(Image.fromarray((values.astype(np.uint16) * 16))),
            "low_range",
            "values reach only 4080 of 65535; scale the picture",
        ),
        (
            saved(Image.fromarray(values.astype(np.float32) / np.float32(250)), "TIFF"),
            "clipped",
            "values reach from 0 to 1.02: ",
        ),
    ):
        warnings = kl(client, data)[1]
        assert warnings is not None
        assert warnings[0]["code"] == code
        assert warnings[0]["detail"].startswith(detail)


def test_collections_say_so_too(client: httpx.Client) -> None:
    client.put("/collections/values", json={"model": "mnist"}).raise_for_status()
    items = [{"mu": [0.0] * 20}, {"image": text(ON_WHITE)}, {"image": text(ON_BLACK)}]
    added = client.post("/collections/values/items", json={"items": items}).raise_for_status().json()
    assert [(warning["item"], warning["code"]) for warning in added["warnings"]] == [(1, "unusual")]
    added = client.post("/collections/values/items", json={"items": items, "invert": "auto"}).raise_for_status().json()
    assert "warnings" not in added
    found = client.post("/collections/values/search", content=ON_WHITE).raise_for_status().json()
    assert [warning["item"] for warning in found["warnings"]] == [0]
    found = client.post("/collections/values/search?invert=yes&k=1", content=ON_WHITE).raise_for_status().json()
    assert "warnings" not in found
    assert found["neighbors"][0]["id"] == added["ids"][1]
    client.delete("/collections/values").raise_for_status()
