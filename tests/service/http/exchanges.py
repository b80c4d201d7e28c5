"""Requests, good and bad, to the application of the fixture `app`; and answers without what differs from time to time."""

import base64
import re
from typing import Any

import numpy as np

from service.formats import png
from service.formats.npy import npy
from tests.service.asgi import Exchange, Sent, of_httpx

NEW_ID = re.compile(rb"[0-9a-f]{32}")
PICTURE = png.write(np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 3)
TEXT = base64.b64encode(PICTURE).decode()
BYTES = npy(np.arange(128, dtype=np.uint8).reshape(2, 8, 8))
FLOATS = npy(np.linspace(0, 1, 192, dtype=np.float32).reshape(3, 8, 8, 1))
LATENTS = npy(np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3))
FORM = [("image", ("a.png", PICTURE)), ("image", ("b.png", PICTURE))]
ENDS = {"start": {"image": TEXT}, "end": {"z": [0.5, -1, 2]}}

THREE = {"points": [{"image": TEXT}, {"z": [0.5, -1, 2]}, {"mu": [1, 1, 1], "sigma": [1, 1, 1]}]}
CORNERS = {"corners": [*THREE["points"], {"z": [0, 0, 0]}]}
TERMS = {"terms": [{"image": TEXT, "weight": 2}, {"z": [0.5, -1, 2], "weight": -0.5}]}

OF_PICTURES = ("encode", "reconstruct")
WITH_BODY = ("encode", "decode", "interpolate", "reconstruct")

GOOD: list[Exchange] = [
    *(
        of_httpx("POST", f"/{name}{query}", content=PICTURE)
        for name in ("encode", "reconstruct")
        for query in ("", "?model=grey")
    ),
    *(of_httpx("POST", "/encode?include=logvar,kl,kl_per_dim,z&seed=3", content=body) for body in (PICTURE, BYTES, FLOATS)),
    *(of_httpx("POST", f"/encode?format={form}", json={"images": [TEXT, TEXT]}) for form in ("json", "npy")),
    of_httpx("POST", "/encode", files=FORM, data={"include": "kl"}),
    of_httpx("POST", "/encode?model=colour", content=PICTURE),
    of_httpx("POST", "/encode", content=PICTURE, headers={"accept": "application/x-npy"}),
    of_httpx("POST", "/encode", content=PICTURE, headers={"content-type": "application/x-www-form-urlencoded"}),
    *(of_httpx("POST", f"/reconstruct?format={form}&mode=sample&seed=4", files=FORM) for form in ("json", "npy", "png")),
    of_httpx("POST", "/reconstruct?format=png&compare=true&layout=column", content=BYTES),
    *(of_httpx("POST", f"/decode?format={form}", content=LATENTS) for form in ("json", "npy", "png")),
    of_httpx("POST", "/decode?dtype=float32&format=npy", json={"z": [[0, 1, 2]]}),
    of_httpx("POST", "/decode?pixels=sample&seed=4", content=LATENTS),
    *(of_httpx("GET", f"/sample?n=3&seed=5&format={form}&temperature=0.5&include=z") for form in ("json", "npy", "png")),
    *(of_httpx("GET", f"/sample?n=3&seed=5&format={form}&prior=standard&include=z") for form in ("json", "npy", "png")),
    *(of_httpx(method, "/sample?seed=6") for method in ("GET", "POST")),
    of_httpx("POST", "/sample", json={"n": 2, "seed": 7}),
    of_httpx("GET", "/sample?seed=8", headers={"accept": "text/html,image/avif,*/*;q=0.8"}),
    *(of_httpx("POST", f"/interpolate?steps=4&format={form}", json=ENDS) for form in ("json", "npy", "png", "webp", "gif")),
    of_httpx("POST", "/interpolate?include=z&method=slerp", files={"start": ("a", PICTURE), "end": ("b", PICTURE)}),
    *(of_httpx("POST", f"/interpolate?steps=4&include=z&format={form}", json=THREE) for form in ("json", "npy", "png", "gif")),
    *(of_httpx("POST", f"/interpolate?steps=3&format={form}", json=CORNERS) for form in ("json", "npy", "png")),
    *(of_httpx("POST", f"/combine?include=z&format={form}", json=TERMS) for form in ("json", "npy", "png")),
    of_httpx("POST", "/barycenter?method=w2", json={"points": [{"image": TEXT}, {"image": TEXT, "weight": 2}]}),
    *(
        of_httpx("POST", f"/traverse?steps=3&dims=local:2&format={form}", content=PICTURE)
        for form in ("json", "npy", "png", "webp")
    ),
    *(of_httpx("GET", f"/manifold?n=3&dims=0,2&format={form}") for form in ("json", "npy", "png")),
    Exchange("POST", "/encode", pieces=[PICTURE[:10], b"", PICTURE[10:50], PICTURE[50:]]),
    Exchange("POST", "/encode", headers=[(b"content-length", b"5")], pieces=[PICTURE]),
    Exchange("GET", "/sample", b"seed=9&&n=1&"),
    Exchange("GET", "/sample", b"%73eed=%39"),
]
BAD: list[tuple[int, str, Exchange]] = [
    *(
        (400, "undecodable", of_httpx("POST", f"/{name}", content=b""))
        for name in ("encode", "decode", "interpolate", "reconstruct")
    ),
    (400, "undecodable", of_httpx("POST", "/encode", content=PICTURE[:60])),
    (400, "undecodable", of_httpx("POST", "/encode", json={"images": [TEXT, "!"]})),
    (400, "undecodable", of_httpx("POST", "/encode", content=b"{")),
    (400, "undecodable", of_httpx("POST", "/encode", content=b"--x", headers={"content-type": "multipart/form-data"})),
    (404, "unknown_model", of_httpx("POST", "/encode?model=gray", content=PICTURE)),
    (404, "unknown_model", of_httpx("GET", "/sample?model=")),
    (422, "no_such_prior", of_httpx("GET", "/sample?model=colour&prior=aggregate")),
    (404, "not_found", of_httpx("GET", "/nothing")),
    (404, "not_found", Exchange("POST", "//encode", pieces=[PICTURE])),
    (404, "not_found", Exchange("POST", "/Encode", pieces=[PICTURE])),
    (405, "method_not_allowed", of_httpx("GET", "/encode")),
    (405, "method_not_allowed", of_httpx("PUT", "/sample", content=b"x")),
    (405, "method_not_allowed", of_httpx("OPTIONS", "/decode")),
    (413, "body_too_large", Exchange("POST", "/encode", headers=[(b"content-length", b"100001")], pieces=[PICTURE])),
    (413, "body_too_large", Exchange("POST", "/encode", pieces=[bytes(60_000), bytes(60_000), b"never read"])),
    (413, "body_too_large", Exchange("POST", "/decode", headers=[(b"content-length", b"1")], pieces=[bytes(100_001)])),
    (413, "too_many_pixels", of_httpx("POST", "/encode", content=png.write(np.zeros((101, 100, 1), np.uint8)))),
    (422, "too_many_items", of_httpx("GET", "/sample?n=33")),
    (413, "too_many_items", of_httpx("POST", "/encode", json={"images": [TEXT] * 33})),
    (413, "too_many_items", of_httpx("POST", "/encode", files=[("image", ("x", b"x"))] * 53)),
    (415, "unsupported_media_type", of_httpx("POST", "/encode", content=b"hello")),
    (415, "unsupported_media_type", of_httpx("POST", "/decode", content=PICTURE)),
    (422, "invalid_parameter", of_httpx("GET", "/sample?sed=1")),
    (422, "invalid_parameter", of_httpx("GET", "/sample?n=1&n=2")),
    (422, "invalid_parameter", Exchange("GET", "/sample", b"\xff=%zz&n=\xe9")),
    (422, "invalid_parameter", of_httpx("GET", "/sample", headers={"x-timeout-ms": "soon"})),
    (422, "unusable_input", of_httpx("POST", "/decode", json={"z": [[1, 2]]})),
    (422, "unusable_input", of_httpx("POST", "/interpolate", json={"points": [{"z": [1, 2, 3]}]})),
    (422, "invalid_parameter", of_httpx("POST", "/interpolate", json={"start": {"id": "a"}, "end": {"id": "b"}})),
    (404, "unknown_collection", of_httpx("POST", "/interpolate?collection=none", json=ENDS)),
    (422, "unusable_input", of_httpx("POST", "/combine", json={"terms": [{"z": [1, 2]}]})),
    (422, "unusable_input", of_httpx("POST", "/encode", content=npy(np.full((1, 8, 8), 2, np.float32)))),
]
ELSEWHERE = ("/models", "/models/grey", "/health/live", "/health/ready", "/docs", "/openapi.json", "/")


def plain(sent: Sent) -> tuple[Any, ...]:
    """An answer without what differs from one time to the next: its timings, and an id that the service made up."""
    headers, body = dict(sent.headers), sent.body
    assert len(headers) == len(sent.headers), sent.headers
    assert sent.complete or not sent.status
    headers.pop(b"server-timing", None)
    made_up = headers.get(b"x-request-id", b"")
    if NEW_ID.fullmatch(made_up):
        headers[b"x-request-id"] = b"made up"
        body = body.replace(made_up, b"made up")
    return sent.status, sorted(headers.items()), body
