"""scale: PNG, WebP and GIF answers enlarged by nearest neighbour, within bounds; browsers get about 512 pixels."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.rest.arrangement import arrange, beside, enlarge, size_of
from service.rest.parameters import BadParameter
from service.rest.scaling import MAX_PIXELS, choose_scale
from service.rest.schemas import DecodeParameters, InterpolateParameters

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def frames_of(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        found = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            found.append(np.asarray(image.convert("RGB")))
    return np.stack(found)


@pytest.mark.parametrize("count", [1, 2, 5, 11, 64])
@pytest.mark.parametrize("layout", ["grid", "row", "column"])
def test_the_size_is_known_before_the_picture_is_made(count: int, layout: str) -> None:
    pictures = np.zeros((count, 7, 5, 1), np.uint8)
    assert size_of(count, (7, 5), layout, False) == arrange(pictures, layout).shape[:2]
    assert size_of(count, (7, 5), layout, True) == beside(pictures, pictures, layout).shape[:2]


def test_pixels_are_repeated() -> None:
    picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    assert enlarge(picture, 2)[..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert enlarge(picture, 1) is picture


LATENT = [0.5, -0.5, 1.0]


@pytest.mark.parametrize(
    ("path", "body", "forms"),
    [
        ("/decode", {"z": [LATENT, LATENT]}, ["png"]),
        ("/sample", {"n": 5, "seed": 3}, ["png"]),
        ("/interpolate", {"start": {"z": LATENT}, "end": {"z": [0.0, 0.0, 0.0]}, "steps": 4}, ["png", "webp", "gif"]),
    ],
)
async def test_every_picture_file(client: httpx.AsyncClient, path: str, body: dict[str, Any], forms: list[str]) -> None:
    for form in forms:
        plain, large, browser, chosen = [
            (await client.post(path, params={"format": form, **more}, json=body, headers=headers)).raise_for_status().content
            for more, headers in (
                ({}, {}),
                ({"scale": 3}, {}),
                ({}, {"accept": BROWSER}),
                ({"scale": 1}, {"accept": BROWSER}),
            )
        ]
        assert plain == chosen
        small = frames_of(plain)
        np.testing.assert_array_equal(frames_of(large), small.repeat(3, 1).repeat(3, 2))
        assert max(frames_of(browser).shape[1:3]) == max(small.shape[1:3]) * min(32, round(512 / max(small.shape[1:3])))
    for form in ("json", "npy"):
        same = [(await client.post(f"{path}?format={form}&scale={n}", json=body)).content for n in (1, 5)]
        assert same[0] == same[1]


@pytest.mark.parametrize("compare", ["true", "false"])
async def test_reconstructions(client: httpx.AsyncClient, compare: str) -> None:
    data = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(data, "PNG")
    path = f"/reconstruct?format=png&compare={compare}"
    small, large = [frames_of((await client.post(path + more, content=data.getvalue())).content) for more in ("", "&scale=4")]
    np.testing.assert_array_equal(large, small.repeat(4, 1).repeat(4, 2))


async def test_the_etag_tells_sizes_apart(client: httpx.AsyncClient) -> None:
    tags: dict[str, str] = {}
    for query, accept in (("", "image/png"), ("&scale=1", "image/png"), ("&scale=2", "image/png"), ("", BROWSER)):
        answer = await client.get(f"/sample?seed=5&format=png{query}", headers={"accept": accept})
        tags[query + accept] = answer.headers["etag"]
        unchanged = await client.get(
            f"/sample?seed=5&format=png{query}", headers={"accept": accept, "if-none-match": answer.headers["etag"]}
        )
        assert unchanged.status_code == 304
    assert tags["image/png"] == tags["&scale=1image/png"]
    assert len(set(tags.values())) == 3


@pytest.mark.parametrize("scale", ["0", "33", "1.5", "x"])
async def test_other_factors_are_refused(client: httpx.AsyncClient, scale: str) -> None:
    assert (await client.get(f"/sample?format=png&scale={scale}")).status_code == 422


def test_the_result_is_bounded() -> None:
    def choose(accept: str = "", scale: int | None = None, form: Any = "png", count: int = 4096, side: int = 28) -> int:
        parameters = InterpolateParameters(scale=scale, steps=2) if form == "webp" else DecodeParameters(scale=scale)
        return choose_scale(parameters, form, accept, count, (side, side, 1))

    assert choose(scale=2) == 2  # 64 x 64 tiles are 1918 pixels wide
    with pytest.raises(BadParameter, match=r"at most 16777216 pixels, .* at most 2 here; use that, or ask for fewer"):
        choose(scale=3)
    with pytest.raises(BadParameter, match=r"at most 16777216 pixels, .* at most 1 here; use that$"):
        choose(scale=17, count=1, side=3000)
    assert choose("text/html") == 1
    assert choose("text/html", count=1) == 18
    assert choose("text/html", count=64) == 2
    assert choose("text/html", count=1, form="json") == choose(scale=32, form="json") == 1
    assert choose(scale=1, side=1000, count=4096) == 1  # as it is without a scale
    with pytest.raises(BadParameter, match="scale can be at most 4"):
        choose(scale=32, form="webp", count=1024)
    frames = choose("text/html", form="webp", count=1024)
    assert frames == 4
    assert 1024 * (28 * frames) ** 2 <= MAX_PIXELS
