"""What the door refuses, as the client of diffusers and raw connections hear of it."""

import json
from base64 import b64encode
from collections import Counter
from io import BytesIO
from math import prod
from random import Random
from typing import Any

import numpy as np
import pytest
import requests
import torch
from diffusers.video_processor import VideoProcessor

from tests.live.diffusers_remote.own_vae import KEY, SCALE, latents, picture, remote_decode, remote_encode
from tests.live.server import Server
from tests.live.wire import Wire


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    """Return the error that the client raises, which is JSON with a text in `error`."""
    with pytest.raises(RuntimeError) as caught:
        call(*arguments, **named)
    (body,) = caught.value.args
    assert isinstance(body["error"], str)
    return str(body["error"])


def test_what_is_not_served_is_refused_in_words(url: str, decoder: str, encoder: str) -> None:
    z, x = latents(1, 4, 8, 8), latents(1, 3, 64, 64)
    scaled: dict[str, Any] = {"scaling_factor": SCALE}
    video = {"output_type": "pt", "processor": VideoProcessor(), **scaled}
    assert "are those of a video" in refused(remote_decode, decoder, latents(1, 4, 3, 8, 8), **video)
    assert "decode pictures, not videos" in refused(remote_decode, decoder, z, output_type="mp4", return_type="mp4", **scaled)
    assert "(N, 4, h, w), not [1, 16, 8, 8]" in refused(remote_decode, decoder, latents(1, 16, 8, 8), **scaled)
    assert "(N, 3, H, W), not [1, 4, 64, 64]" in refused(remote_encode, encoder, latents(1, 4, 64, 64))
    assert "a video has to be sent as its pictures" in refused(remote_encode, encoder, latents(1, 3, 2, 64, 64))
    assert "each side must have at least 8" in refused(remote_encode, encoder, picture(5, 64))
    assert "unsqueeze(0)" in refused(remote_encode, encoder, latents(3, 64, 64))
    assert "not 'float64'; " in refused(remote_decode, decoder, z.double(), **scaled)
    assert "not 'uint8'; " in refused(remote_encode, encoder, x.to(torch.uint8))
    assert "1 of the 256 numbers of the tensor are NaN" in refused(
        remote_decode, decoder, z.put(torch.tensor(3), torch.tensor(torch.nan)), **scaled
    )
    assert "image_format must be jpg or png, not 'webp'" in refused(remote_decode, decoder, z, image_format="webp", **scaled)
    assert "unknown_model: " in refused(remote_decode, f"{url}/diffusers/none/decode", z, **scaled)
    assert "the latents of 'grey' are flat, (3,); choose a model whose latent_shape has three numbers: " in refused(
        remote_decode, f"{url}/diffusers/grey/decode", z, **scaled
    )
    assert "too_many_items: " in refused(
        remote_decode, decoder, latents(9, 4, 8, 8), output_type="pt", return_type="pt", **scaled
    )
    assert "not_found: " in refused(remote_decode, f"{url}/diffusers/tiny-kl/decod", z, **scaled)
    no_key = decoder.replace(f"app:{KEY}@", "")
    assert "unauthorized: " in refused(remote_decode, no_key, z, **scaled)
    assert "the API key is not valid" in refused(remote_encode, encoder.replace(KEY, "wrong"), x)


def test_statuses(decoder: str, encoder: str) -> None:
    def status(endpoint: str, query: str, body: bytes = bytes(1024), method: str = "POST") -> int:
        answer = requests.request(method, f"{endpoint}?{query}", data=body, timeout=60)
        assert answer.ok or isinstance(answer.json()["error"], str)
        return answer.status_code

    whole = "shape=1&shape=4&shape=8&shape=8&dtype=float32"
    assert status(decoder, whole) == 200
    assert status(decoder, whole, bytes(1023)) == 400
    assert status(decoder, f"{whole}&shape=0") == 422
    assert status(decoder, whole, method="GET") == 405
    assert status(encoder, "", b"no picture") == 415
    assert status(encoder, "", b"") == 400
    metrics = requests.get(f"{decoder.partition('/diffusers')[0]}/metrics", timeout=60).text
    counted = [line for line in metrics.splitlines() if line.startswith("vae_requests_total{")]
    for operation, code in (("diffusers_decode", 400), ("diffusers_encode", 415)):
        assert any(f'"{operation}"' in line and f'"{code}"' in line for line in counted), (operation, code)


DIMENSIONS = ("-1", "0", "1", "2", "5", "8", "64", "1000000", "999999999999", "9" * 30, "x", "", "8.0")
SCALES = ("0", "-1", "nan", "1e-38", "1e38", "1e300", "0.5", "")
# Values of each parameter, right and wrong.
VALUES = {
    "shape": DIMENSIONS,
    "dtype": ("float32", "float16", "bfloat16", "int64", ""),
    "output_type": ("pt", "pil", "mp4"),
    "partial_postprocess": ("True", "False", "1"),
    "image_format": ("png", "jpg", "gif"),
    "scaling_factor": SCALES,
    "shift_factor": SCALES,
    "do_scaling": ("True", "False", "None"),
    "height": ("64", "0", "-1", "999999999999"),
    "width": ("64", "1e3"),
    "mode": ("mean", "sample", ""),
    "seed": ("7", "-7", str(2**53)),
    "zzz": ("",),
}
# Shapes that are right: few, since each size that is new costs the time to prepare it.
SHAPES = {"decode": (("4", "8", "8"), ("4", "8", "12")), "encode": (("3", "64", "64"), ("3", "64", "96"))}


def random_query(random: Random, operation: str) -> list[tuple[str, str]]:
    """Parameters that are right, or to which something has happened."""
    count, dtype = random.choice(("1", "2", "3")), random.choice(("float32", "float16", "bfloat16"))
    pairs = [("shape", dim) for dim in (count, *random.choice(SHAPES[operation]))]
    pairs += [("dtype", dtype), ("scaling_factor", "0.5")]
    if operation == "decode":
        pairs.append(("output_type", "pt"))
    for _ in range(random.choice((0, 1, 1, 2))):
        place, name = random.randrange(len(pairs)), random.choice(list(VALUES))
        change = random.randrange(3)
        if change == 0:
            pairs[place] = pairs[place][0], random.choice(VALUES[pairs[place][0]])
        elif change == 1:
            pairs = [pair for pair in pairs if pair[0] != name] + [(name, random.choice(VALUES[name]))]
        else:
            del pairs[place]
    return pairs


def random_body(random: Random, query: list[tuple[str, str]]) -> bytes:
    """The bytes that a query asks for, nearly, or something else."""
    dims = [int(dim) for name, dim in query if name == "shape" and dim.isdigit()]
    size = {"float32": 4}.get(dict(query).get("dtype", ""), 2) * prod(dims)
    if not 0 < size < 1 << 20:
        size = random.randrange(1 << 12)
    kind = random.randrange(12)
    if kind == 0:
        return random.randbytes(size)  # among them NaNs and numbers of any size
    if kind == 1:
        return bytes(max(0, size + random.choice((-1, 1, -size))))
    if kind == 2:
        file = BytesIO()
        picture(64, 96).save(file, "PNG")
        return file.getvalue()[: random.choice((None, 8, 100, -20))]
    return (np.arange(size // 4 + 1, dtype=np.float32) % 2).tobytes()[:size]


def test_random_requests_get_an_answer_or_an_error_in_words(url: str) -> None:
    random, seen = Random(0), Counter[int]()
    with requests.Session() as session:
        for number in range(400):
            operation = ("decode", "encode")[number % 2]
            query = random_query(random, operation)
            headers = {"Accept": random.choice(("*/*", "tensor/binary", "image/png"))}
            answer = session.post(
                f"{url}/diffusers/tiny-kl/{operation}",
                params=query,
                data=random_body(random, query),
                headers=headers,
                timeout=60,
            )
            assert answer.ok or isinstance(answer.json()["error"], str)
            if answer.ok and "shape" in answer.headers:
                size = {"uint8": 1, "float32": 4}.get(answer.headers["dtype"], 2)
                assert len(answer.content) == size * prod(json.loads(answer.headers["shape"]))
            seen[answer.status_code] += 1
    assert seen.keys() <= {200, 400, 413, 415, 422}, seen
    assert min(seen[200], seen[400], seen[422]) > 40, seen


def test_clients_that_hang_up_leave_nothing_behind(server: Server, decoder: str) -> None:
    z = latents(1, 4, 8, 8)
    body = z.numpy().tobytes()
    basic = b64encode(f"app:{KEY}".encode()).decode()
    head = (
        "POST /diffusers/tiny-kl/decode?shape=1&shape=4&shape=8&shape=8&dtype=float32&output_type=pt HTTP/1.1\r\n"
        f"Host: localhost\r\nAuthorization: Basic {basic}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for sent in (head, head[:-2], head + body[:1], head + body[:-1], head + body):
        with Wire(server) as wire:
            wire.send(sent)
    found = remote_decode(decoder, z, output_type="pt", return_type="pt", do_scaling=False)
    assert found.shape == (1, 3, 64, 64)
