"""/encode: every form of input gives the posterior that the model gives without the service."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from .pictures import Pixels, decoded, encoded, from_npy, npy, text

Posterior = Callable[[str, Any], tuple[Any, Any]]

# what a body says it is; its first bytes decide
CLAIMS = [None, "image/png", "application/octet-stream", "application/x-www-form-urlencoded", "application/json", "image/jpeg"]
# kinds that keep every grey as it is
LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("BMP", {}),
    ("GIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
]


def agree(body: dict[str, Any], expected: tuple[Any, Any]) -> None:
    for name, values in zip(("mu", "sigma"), expected, strict=True):
        np.testing.assert_allclose(np.array(body[name], np.float32), values, rtol=0, atol=1e-5)


def test_a_picture_as_the_body(client: httpx.Client, digits: Pixels, pngs: list[bytes], posterior: Posterior) -> None:
    for i in range(20):
        answer = client.post("/encode", content=pngs[i]).raise_for_status()
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["model"] == "mnist"
        agree(answer.json(), posterior("mnist", digits[i : i + 1, None]))


def test_all_forms_of_one_picture_give_the_same_bytes(client: httpx.Client, digits: Pixels, pngs: list[bytes]) -> None:
    digit, png = digits[0], pngs[0]
    alone = client.post("/encode", content=png).raise_for_status().content
    others: list[dict[str, Any]] = [
        *({"content": png, "headers": {"content-type": claim} if claim else {}} for claim in CLAIMS),
        *({"content": encoded(digit, kind, **options)} for kind, options in LOSSLESS),
        {"content": encoded(np.stack([digit] * 3, axis=-1))},
        {"files": {"image": ("seven.png", png, "image/png")}},
        {"files": {"image": ("seven", png, "application/octet-stream")}},
        {"json": {"images": [text(png)]}},
        {"json": {"images": ["data:image/png;base64," + text(png)]}},
        {"json": {"images": ["data:;base64," + text(png)]}},
        {"json": {"images": [text(png)[:60] + "\r\n" + text(png)[60:] + "\n"]}},
        {"content": b'\n {"images": ["%s"]}' % text(png).encode(), "headers": {"content-type": "text/plain"}},
        {"content": npy(digit[None])},
        {"content": npy(digit[None, :, :, None]), "headers": {"content-type": "application/x-npy"}},
        {"content": npy(np.asfortranarray(np.stack([digit] * 2))[:1])},
    ]
    for other in others:
        answer = client.post("/encode", **other)
        assert (answer.status_code, answer.content) == (200, alone), other


def test_a_jpeg_gives_the_posterior_of_its_own_pixels(client: httpx.Client, digits: Pixels, posterior: Posterior) -> None:
    jpeg = encoded(digits[1], "JPEG", quality=60)
    agree(client.post("/encode", content=jpeg).json(), posterior("mnist", decoded(jpeg)[None, None]))


def test_many_pictures_in_every_form(client: httpx.Client, digits: Pixels, pngs: list[bytes], posterior: Posterior) -> None:
    n = 70  # more than a batch, and than is decoded at once
    expected = posterior("mnist", digits[:n, None])
    forms: list[dict[str, Any]] = [
        {"files": [("image", (f"{i}.png", png)) for i, png in enumerate(pngs[:n])]},
        {"json": {"images": [text(png) for png in pngs[:n]]}},
        {"content": npy(digits[:n])},
        {"content": npy(digits[:n, :, :, None])},
    ]
    answers = [client.post("/encode", **form).raise_for_status() for form in forms]
    agree(answers[0].json(), expected)
    assert {answer.content for answer in answers} == {answers[0].content}
    # each row is the row that its picture gets alone
    for i in (0, 31, 32, 69):
        alone = client.post("/encode", content=pngs[i]).json()
        assert answers[0].json()["mu"][i] == alone["mu"][0]
        assert answers[0].json()["sigma"][i] == alone["sigma"][0]


@pytest.mark.parametrize("channel_axis", [False, True])
def test_float_arrays(client: httpx.Client, digits: Pixels, posterior: Posterior, channel_axis: bool) -> None:
    x = digits[:70].astype(np.float32) / 255
    answer = client.post("/encode", content=npy(x[..., None] if channel_axis else x)).raise_for_status()
    agree(answer.json(), posterior("mnist", x[:, None]))
    # pixels that no byte can hold
    half = np.full((1, 28, 28), 0.123456, np.float32)
    agree(client.post("/encode", content=npy(half)).json(), posterior("mnist", half[:, None]))
    big_endian = client.post("/encode", content=npy(half.astype(">f4")))
    assert big_endian.content == client.post("/encode", content=npy(half)).content


def test_a_model_of_three_channels(client: httpx.Client, posterior: Posterior) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), np.uint8)
    expected = posterior("tiny-rgb", x.transpose(0, 3, 1, 2))
    forms: list[dict[str, Any]] = [
        {"content": npy(x)},
        {"files": [("image", ("x", encoded(one))) for one in x]},
        {"json": {"images": [text(encoded(one, "WEBP", lossless=True)) for one in x]}},
    ]
    answers = [client.post("/encode?model=tiny-rgb", **form).raise_for_status() for form in forms]
    agree(answers[0].json(), expected)
    assert {answer.content for answer in answers} == {answers[0].content}
    floats = client.post("/encode?model=tiny-rgb", content=npy(x.astype(np.float32) / 255)).json()
    agree(floats, posterior("tiny-rgb", x.transpose(0, 3, 1, 2).astype(np.float32) / 255))


@pytest.mark.parametrize(("name", "dim"), [("mnist", 20), ("fashion-mnist", 32), ("mnist-2d", 2)])
def test_the_model_is_chosen_by_name(
    client: httpx.Client, digits: Pixels, pngs: list[bytes], posterior: Posterior, name: str, dim: int
) -> None:
    in_query = client.post(f"/encode?model={name}", content=pngs[2]).raise_for_status()
    in_form = client.post("/encode", data={"model": name}, files={"image": pngs[2]}).raise_for_status()
    in_json = client.post("/encode", json={"images": [text(pngs[2])], "model": name}).raise_for_status()
    assert in_query.content == in_form.content == in_json.content
    assert in_query.json()["model"] == name
    assert in_query.headers["x-model"].startswith(f"{name}@sha256:")
    assert np.shape(in_query.json()["mu"]) == np.shape(in_query.json()["sigma"]) == (1, dim)
    agree(in_query.json(), posterior(name, digits[2:3, None]))


def test_npy_answers_hold_mu_then_sigma(client: httpx.Client, pngs: list[bytes]) -> None:
    files = [("image", ("x", png)) for png in pngs[:3]]
    body = client.post("/encode", files=files).json()
    for answer in (
        client.post("/encode?format=npy", files=files),
        client.post("/encode", files=files, headers={"accept": "application/x-npy"}),
    ):
        assert answer.headers["content-type"] == "application/x-npy"
        array = from_npy(answer.content)
        assert array.shape == (2, 3, 20)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.array([body["mu"], body["sigma"]], np.float32))


def test_include_adds_fields(client: httpx.Client, pngs: list[bytes]) -> None:
    plain = client.post("/encode", content=pngs[0]).json()
    assert plain.keys() == {"model", "mu", "sigma"}
    full = client.post("/encode?include=logvar,kl,kl_per_dim,z&seed=5", content=pngs[0]).json()
    assert full.keys() == {"model", "mu", "sigma", "logvar", "kl", "kl_per_dim", "z", "seed"}
    mu, sigma, logvar, per_dim = (np.array(full[name], np.float64) for name in ("mu", "sigma", "logvar", "kl_per_dim"))
    np.testing.assert_allclose(logvar, 2 * np.log(sigma), atol=1e-5)
    np.testing.assert_allclose(per_dim, (mu**2 + sigma**2 - 1) / 2 - np.log(sigma), atol=1e-5)
    np.testing.assert_allclose(full["kl"], per_dim.sum(axis=1), rtol=1e-6)
    assert np.shape(full["kl"]) == (1,)
    one, other = (client.post(f"/encode?include={given}", content=pngs[0]).json() for given in ("kl", "kl_per_dim&include=kl"))
    assert one.keys() == {*plain, "kl"}
    assert other.keys() == {*plain, "kl", "kl_per_dim"}


def test_z_is_a_seeded_draw_from_the_posterior(client: httpx.Client, pngs: list[bytes]) -> None:
    files = [("image", ("x", png)) for png in pngs[:4]]
    first = client.post("/encode?include=z&seed=11", files=files)
    assert first.content == client.post("/encode?include=z&seed=11", files=files).content
    assert first.json()["seed"] == 11
    assert first.headers["x-seed"] == "11"
    other = client.post("/encode?include=z&seed=12", files=files).json()
    assert other["z"] != first.json()["z"]
    # the noise of item 0 does not depend on how many items there are
    alone = client.post("/encode?include=z&seed=11", content=pngs[0]).json()
    assert alone["z"][0] == first.json()["z"][0]
    drawn = client.post("/encode?include=z", files=files)
    again = client.post(f"/encode?include=z&seed={drawn.json()['seed']}", files=files)
    assert drawn.content == again.content
    mu, sigma, z = (np.array(drawn.json()[name]) for name in ("mu", "sigma", "z"))
    assert (np.abs(z - mu) < 8 * sigma).all()
    assert (z != mu).all()
