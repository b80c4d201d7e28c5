"""/decode, /sample, /interpolate and /reconstruct: each format of answer holds the pictures that the model itself makes."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from .pictures import Pixels, decoded, decoded_all, encoded, frames, from_npy, npy, text

Means = Callable[[str, Any], Any]
Posterior = Callable[[str, Any], tuple[Any, Any]]

Z = np.random.default_rng(1).normal(size=(5, 20)).astype(np.float32)
# what Chrome and Firefox send for a page, and for a picture in one
BROWSERS = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
]
HALF_A_GREY = 0.5 / 255 + 1e-5


def decode(client: httpx.Client, query: str, z: Any = Z, **options: Any) -> httpx.Response:
    return client.post(f"/decode?{query}", json={"z": np.asarray(z).tolist()}, **options).raise_for_status()


def untiled(picture: Pixels, rows: int, columns: int, size: tuple[int, int] = (28, 28), gap: int = 2) -> Pixels:
    """The tiles of one picture, (rows * columns, H, W)."""
    height, width = size
    assert picture.shape[:2] == (rows * (height + gap) - gap, columns * (width + gap) - gap)
    starts = [(y * (height + gap), x * (width + gap)) for y in range(rows) for x in range(columns)]
    return np.stack([picture[y : y + height, x : x + width] for y, x in starts])


def test_decode_gives_the_means_of_the_model(client: httpx.Client, means: Means) -> None:
    expected = means("mnist", Z)
    floats = from_npy(decode(client, "format=npy&dtype=float32").content)
    assert floats.shape == (5, 28, 28, 1)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, expected, rtol=0, atol=1e-5)
    greys = from_npy(decode(client, "format=npy").content)
    assert greys.shape == (5, 28, 28, 1)
    assert greys.dtype == np.uint8
    np.testing.assert_array_equal(greys, np.rint(floats * np.float32(255)).astype(np.uint8))
    np.testing.assert_allclose(greys / 255, expected, rtol=0, atol=HALF_A_GREY)
    body = decode(client, "").json()
    assert body.keys() == {"model", "images", "shape"}
    assert body["shape"] == [28, 28, 1]
    np.testing.assert_array_equal(decoded_all(body["images"]), greys[..., 0])


def test_latents_as_npy_are_the_same_latents(client: httpx.Client) -> None:
    in_json = decode(client, "format=npy&dtype=float32").content
    for dtype in (np.float32, np.float64, ">f4"):
        assert client.post("/decode?format=npy&dtype=float32", content=npy(Z.astype(dtype))).content == in_json
    whole = np.arange(-10, 10)[None]
    assert client.post("/decode", content=npy(whole)).content == decode(client, "", whole).content


def test_png_layouts(client: httpx.Client) -> None:
    greys = from_npy(decode(client, "format=npy").content)[..., 0]
    grid = untiled(decoded(decode(client, "format=png").content), 2, 3)
    np.testing.assert_array_equal(grid[:5], greys)
    assert not grid[5].any()
    row = untiled(decoded(decode(client, "format=png&layout=row").content), 1, 5)
    column = untiled(decoded(decode(client, "format=png&layout=column").content), 5, 1)
    np.testing.assert_array_equal(row, greys)
    np.testing.assert_array_equal(column, greys)
    np.testing.assert_array_equal(decoded(decode(client, "format=png", Z[:1]).content), greys[0])


def test_a_model_of_three_channels(client: httpx.Client, means: Means) -> None:
    z = Z[:2, :3]
    floats = from_npy(decode(client, "model=tiny-rgb&format=npy&dtype=float32", z).content)
    assert floats.shape == (2, 9, 7, 3)
    np.testing.assert_allclose(floats, means("tiny-rgb", z), rtol=0, atol=1e-5)
    body = decode(client, "model=tiny-rgb", z).json()
    assert body["shape"] == [9, 7, 3]
    np.testing.assert_array_equal(decoded_all(body["images"]), np.rint(floats * np.float32(255)))
    png = decoded(decode(client, "model=tiny-rgb&format=png&layout=row", z).content)
    np.testing.assert_array_equal(untiled(png, 1, 2, (9, 7)), decoded_all(body["images"]))


@pytest.mark.parametrize("accept", BROWSERS)
def test_a_browser_gets_a_picture(client: httpx.Client, accept: str) -> None:
    answer = client.get("/sample?n=4&seed=1", headers={"accept": accept}).raise_for_status()
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == client.get("/sample?n=4&seed=1&format=png&scale=9").content  # 9 x 58 pixels


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("image/png", "image/png"),
        ("image/png;q=0.5, application/x-npy", "application/x-npy"),
        ("image/png;q=0.5, application/x-npy;q=0.4, application/json;q=0.3", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("application/json;q=0, image/png", "image/png"),
        ("image/png;q=0", "application/json"),
        ("text/csv", "application/json"),
        (";;,=q;image/png;q=x", "application/json"),
    ],
)
def test_accept_chooses_the_format_and_format_wins(client: httpx.Client, accept: str, kind: str) -> None:
    answer = client.get("/sample?seed=1", headers={"accept": accept}).raise_for_status()
    assert answer.headers["content-type"] == kind
    assert "accept" in answer.headers["vary"].lower()
    npy_wins = client.get("/sample?seed=1&format=npy", headers={"accept": accept})
    assert npy_wins.headers["content-type"] == "application/x-npy"


@pytest.mark.parametrize("method", ["linear", "slerp", "matched"])
def test_the_ends_of_a_path_are_the_pictures_of_its_ends(
    client: httpx.Client, pngs: list[bytes], means: Means, method: str
) -> None:
    ends: dict[str, Any] = {"start": {"z": Z[0].tolist()}, "end": {"z": Z[1].tolist()}}
    query = f"/interpolate?method={method}&steps=7"
    path = from_npy(client.post(f"{query}&format=npy&dtype=float32", json=ends).raise_for_status().content)
    alone = from_npy(decode(client, "format=npy&dtype=float32", Z[:2]).content)
    assert path.shape == (7, 28, 28, 1)
    np.testing.assert_array_equal(path[[0, -1]], alone)
    body = client.post(f"{query}&include=z", json=ends).json()
    assert body["method"] == method
    assert np.shape(body["z"]) == (7, 20)
    np.testing.assert_array_equal(np.array(body["z"], np.float32)[[0, -1]], Z[:2])
    np.testing.assert_allclose(path, means("mnist", body["z"]), rtol=0, atol=1e-5)
    middle = np.array(body["z"])[3]
    if method == "linear":
        np.testing.assert_allclose(middle, Z[:2].mean(axis=0), atol=1e-6)
    else:
        assert np.linalg.norm(middle) > np.linalg.norm(Z[:2].mean(axis=0)) * 1.1
    # from picture to picture: mu is where they are
    files = {"start": pngs[0], "end": pngs[1]}
    in_form = client.post(f"{query}&include=z", files={name: (name, png) for name, png in files.items()}).raise_for_status()
    in_json = client.post("/interpolate", json={
        **{name: {"image": text(png)} for name, png in files.items()}, "method": method, "steps": 7, "include": "z",
    })  # fmt: skip
    assert in_form.content == in_json.content
    mu = client.post("/encode", files=[("image", ("x", png)) for png in files.values()]).json()["mu"]
    assert [in_form.json()["z"][0], in_form.json()["z"][-1]] == mu
    mixed = client.post(f"{query}&include=z", json={"start": {"image": text(pngs[0])}, "end": ends["end"]}).json()
    assert mixed["z"][0] == mu[0]
    np.testing.assert_array_equal(np.array(mixed["z"][-1], np.float32), Z[1])
    latent_in_form = client.post(
        f"{query}&include=z", files={"start": ("x", pngs[0])}, data={"end": str(ends["end"]["z"])}
    ).raise_for_status()
    assert latent_in_form.json() == mixed


def test_frames_of_a_path_in_every_format(client: httpx.Client) -> None:
    ends = {"start": {"z": Z[0].tolist()}, "end": {"z": Z[1].tolist()}, "steps": 6}
    answers = {form: client.post(f"/interpolate?format={form}", json=ends).raise_for_status() for form in (
        "json", "npy", "png", "webp", "gif"
    )}  # fmt: skip
    greys = from_npy(answers["npy"].content)[..., 0]
    assert greys.shape == (6, 28, 28)
    np.testing.assert_array_equal(decoded_all(answers["json"].json()["images"]), greys)
    np.testing.assert_array_equal(untiled(decoded(answers["png"].content), 1, 6), greys)
    for form in ("webp", "gif"):
        assert answers[form].headers["content-type"] == f"image/{form}"
        with Image.open(io.BytesIO(answers[form].content)) as image:
            assert image.format == form.upper()
            assert image.info["loop"] == 0
        np.testing.assert_array_equal(np.stack(frames(answers[form].content)), greys)
    by_accept = client.post("/interpolate", json=ends, headers={"accept": "image/webp"})
    assert by_accept.content == answers["webp"].content
    assert client.post("/interpolate", json=ends, headers={"accept": "image/gif"}).content == answers["gif"].content


def test_reconstructions_are_the_means_at_mu(client: httpx.Client, pngs: list[bytes], means: Means) -> None:
    files = [("image", ("x", png)) for png in pngs[:3]]
    mu = client.post("/encode", files=files).json()["mu"]
    body = client.post("/reconstruct", files=files).raise_for_status().json()
    assert body.keys() == {"model", "images", "shape"}
    np.testing.assert_array_equal(decoded_all(body["images"]), from_npy(decode(client, "format=npy", mu).content)[..., 0])
    floats = from_npy(client.post("/reconstruct?format=npy&dtype=float32", files=files).content)
    np.testing.assert_allclose(floats, means("mnist", mu), rtol=0, atol=1e-5)
    assert client.post("/reconstruct", files=files[:1]).content == client.post("/reconstruct", content=pngs[0]).content
    assert client.post("/reconstruct", json={"images": [text(png) for png in pngs[:3]]}).json() == body


def test_reconstructions_of_draws_from_the_posterior(client: httpx.Client, pngs: list[bytes]) -> None:
    files = [("image", ("x", png)) for png in pngs[:3]]
    z = client.post("/encode?include=z&seed=9", files=files).json()["z"]
    answer = client.post("/reconstruct?mode=sample&seed=9", files=files).raise_for_status()
    assert answer.json()["seed"] == 9
    assert answer.headers["x-seed"] == "9"
    assert answer.json()["images"] == decode(client, "", z).json()["images"]
    drawn = client.post("/reconstruct?mode=sample&format=png", files=files)
    again = client.post(f"/reconstruct?mode=sample&format=png&seed={drawn.headers['x-seed']}", files=files)
    assert drawn.content == again.content != client.post("/reconstruct?format=png", files=files).content


@pytest.mark.parametrize(("layout", "rows", "columns"), [("grid", 2, 3), ("row", 2, 3), ("column", 3, 2)])
def test_originals_beside_reconstructions(
    client: httpx.Client, digits: Pixels, pngs: list[bytes], layout: str, rows: int, columns: int
) -> None:
    files = [("image", ("x", png)) for png in pngs[:3]]
    seen = decoded_all(client.post("/reconstruct", files=files).json()["images"])
    query = f"/reconstruct?format=png&compare=true&layout={layout}"
    tiles = untiled(decoded(client.post(query, files=files).raise_for_status().content), rows, columns)
    expected = np.stack([digits[:3], seen], axis=1 if layout == "column" else 0).reshape(-1, 28, 28)
    np.testing.assert_array_equal(tiles, expected)
    from_floats = client.post(query, content=npy(digits[:3].astype(np.float32) / 255))
    np.testing.assert_array_equal(untiled(decoded(from_floats.content), rows, columns), expected)


def test_originals_in_json(client: httpx.Client, digits: Pixels) -> None:
    """They are what the model sees: in its size, whatever was sent, and with the same posterior."""
    large = encoded(digits[0].repeat(3, 0).repeat(3, 1)[:, :70])
    files = [("image", ("x", encoded(digits[1]))), ("image", ("x", large))]
    plain, compared = [client.post(f"/reconstruct{query}", files=files).json() for query in ("", "?compare=true")]
    originals = compared.pop("originals")
    assert plain == compared
    np.testing.assert_array_equal(decoded_all(originals)[0], digits[1])
    again = client.post("/encode", json={"images": originals}).json()
    assert again == client.post("/encode", files=files).json()
    refused = client.post("/reconstruct?compare=true&format=npy", files=files)
    assert refused.status_code == 422
    assert "format=json" in refused.json()["detail"]


def test_many_originals_beside_reconstructions(client: httpx.Client, digits: Pixels) -> None:
    """A grid is ten wide; what is left over in the last two rows is black."""
    n = 33
    png = client.post("/reconstruct?format=png&compare=true", content=npy(digits[:n])).raise_for_status().content
    tiles = untiled(decoded(png), 8, 10).reshape(4, 2, 10, 28, 28)
    np.testing.assert_array_equal(tiles[:, 0].reshape(-1, 28, 28)[:n], digits[:n])
    assert not tiles[3, :, 3:].any()
    files = [("image", ("x", encoded(digit))) for digit in digits[:n]]  # decoded slice by slice
    assert client.post("/reconstruct?format=png&compare=true", files=files).content == png
