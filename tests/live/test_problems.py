"""Bad requests: the status that belongs to each, a body with all its members, and a service that goes on."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from .pictures import npy, text
from .problems import problem
from .server import Server

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
OPERATIONS = ["/encode", "/decode", "/interpolate", "/reconstruct"]
ENDS: dict[str, Any] = {"start": {"z": [0.0] * 20}, "end": {"z": [1.0] * 20}}


@pytest.fixture(autouse=True)
def _it_goes_on(client: httpx.Client, server: Server) -> Iterator[None]:
    before = len(server.lines)
    yield
    assert client.get("/sample?seed=1").status_code == 200
    assert not [line for line in server.lines[before:] if "Traceback" in line], "\n".join(server.lines[before:])


def header(shape: str, descr: str = "|u1", fortran: str = "False") -> bytes:
    """The start of an npy file, as hostile as its arguments."""
    literal = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(literal).to_bytes(2, "little") + literal


def part(name: str, data: bytes = b"abc", filename: str = "") -> bytes:
    """One part of a form with the boundary x."""
    file = f'; filename="{filename}"' if filename else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{", JSON),
        (b"[" * 2_000, JSON),
        (b'{"images": ["\xff"]}', JSON),
        (b'{"z": [[NaN]]}', JSON),
        (b"--x", {"content-type": "multipart/form-data"}),
        (part("image"), FORM),
        (b"--y--\r\n", FORM),
        (b"x" * 2000, {"content-type": f"multipart/form-data; boundary={'x' * 1000}"}),
    ],
)
def test_bodies_that_are_not_what_they_seem(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> None:
    problem(client.post(path, content=body, headers=headers), 400, "undecodable")


@pytest.mark.parametrize("image", ["!", "a", "data:image/png,abc", "data:image/png;base64,?", "é", "====", ""])
def test_text_that_is_not_a_picture(client: httpx.Client, pngs: list[bytes], image: str) -> None:
    answer = client.post("/encode", json={"images": [text(pngs[0]), image]})
    assert problem(answer, 400, "undecodable")["item"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\x93NUMPY",
        b"\x93NUMPY\x03\x00\x00\x00\x00\x00",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        header("(1, 28, 28)"),
        header("(1, 28, 28)") + bytes(783),
        header("(1, 28, 28)") + bytes(785),
        header("(-1, 28, 28)"),
        header("(4611686018427387904, 28, 28)"),
        header("(4611686018427387904, 0, 28)"),
        header("(99999999999999999999999999, 0)"),
        header("(True, 28, 28)") + bytes(784),
        header("(1, 28, 28)", descr="<f0"),
        header("(" + "1, " * 70 + ")") + b"a",
        header("(" * 3000),
        header("(1, 28, 28)", fortran="7") + bytes(784),
        header("__import__('os').getcwd()"),
        b"\x93NUMPY\x01\x00\xf0\x23" + b"~" * 9200,
    ],
)
def test_npy_headers_that_lie(client: httpx.Client, body: bytes) -> None:
    problem(client.post("/encode", content=body), 400, "undecodable")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 28, 28), np.uint8),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 27, 28), np.uint8),
        np.zeros((1, 28, 28, 3), np.uint8),
        np.zeros((1, 1, 28, 28), np.uint8),
        np.zeros((1, 28, 28), np.float64),
        np.zeros((1, 28, 28), np.float16),
        np.zeros((1, 28, 28), np.int16),
        np.zeros((1, 28, 28), bool),
        np.zeros((1, 28, 28), complex),
        np.array(["text"]),
        np.zeros(1, [("x", "u1")]),
        np.zeros((), np.uint8),
        np.full((1, 28, 28), 1.001, np.float32),
        np.full((1, 28, 28), -0.001, np.float32),
        np.full((1, 28, 28), np.nan, np.float32),
        np.full((1, 28, 28), np.inf, np.float32),
    ],
)
def test_arrays_that_the_model_does_not_take(client: httpx.Client, array: Any) -> None:
    for path in ("/encode", "/reconstruct"):
        problem(client.post(path, content=npy(array)), 422, "unusable_input")


def test_the_item_at_fault_is_named(client: httpx.Client, pngs: list[bytes]) -> None:
    x = np.zeros((40, 28, 28), np.float32)
    x[37, 3, 3] = 2
    assert problem(client.post("/encode", content=npy(x)), 422, "unusable_input", "item 37")["item"] == 37
    files = [("image", ("x", png)) for png in [*pngs[:35], pngs[0][:60], *pngs[:5]]]
    assert problem(client.post("/encode", files=files), 400, "undecodable", "item 35", "PNG")["item"] == 35
    files[2] = ("image", ("x", b"MZ\x90\0"))
    assert problem(client.post("/encode", files=files), 415, "unsupported_media_type", "item 2")["item"] == 2
    z = [[0.0] * 20, [0.0] * 19 + [1e9]]
    assert problem(client.post("/decode", json={"z": z}), 422, "unusable_input", "item 1")["item"] == 1


@pytest.mark.parametrize(
    "z",
    [
        [], [[]], [[0.0] * 19], [[0.0] * 21], [[0.0] * 20, [0.0] * 19], [0.0] * 20, [["1"] * 20], [[None] * 20], [[True] * 20],
        [[0.5] * 19 + [True]], [{}], ["0" * 20], [[[0.0] * 20]], "", None, 0, {}, [[1e300] * 20],
        [[18446744073709551615] * 20],
        [[1] * 19 + [[1]]], [[1] * 19 + ["x"]], [[1] * 20, None],
    ],
)  # fmt: skip
def test_latents_that_the_model_does_not_take(client: httpx.Client, z: Any) -> None:
    problem(client.post("/decode", json={"z": z}), 422, "unusable_input")
    if z != [0.0] * 20:  # one latent is what an end of a path is
        problem(client.post("/interpolate", json={"start": {"z": z}, "end": {"z": [0.0] * 20}}), 422, "unusable_input")


def test_npy_latents_that_the_model_does_not_take(client: httpx.Client) -> None:
    for z in (
        np.zeros((1, 19)),
        np.zeros((0, 20)),
        np.full((1, 20), np.nan),
        np.full((1, 20), np.inf),
        np.zeros((1, 20), bool),
    ):
        problem(client.post("/decode", content=npy(z)), 422, "unusable_input")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", {}), ("/encode", {"images": []}), ("/encode", {"images": "x"}), ("/encode", {"images": [1]}),
        ("/encode", {"images": ["x"], "image": "x"}), ("/reconstruct", {"images": ["x"], "image": "x"}),
        ("/encode", {"images": [["x"]]}), ("/encode", {"images": {"0": "x"}}), ("/encode", []), ("/decode", {}),
        ("/decode", 1), ("/interpolate", {}), ("/interpolate", {"start": {"z": [0.0] * 20}}), ("/reconstruct", {}),
        ("/interpolate", {**ENDS, "start": {}}), ("/interpolate", {**ENDS, "start": {"image": "x", "z": [0.0] * 20}}),
        ("/interpolate", {**ENDS, "start": {"image": 1}}), ("/interpolate", {**ENDS, "end": [0.0] * 20}),
        ("/interpolate", {**ENDS, "end": {"z": 0}}), ("/sample", []),
    ],
)  # fmt: skip
def test_json_of_the_wrong_shape(client: httpx.Client, path: str, body: Any) -> None:
    problem(client.post(path, content=json.dumps(body), headers=JSON), 422, "unusable_input")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", b"hello"),
        ("/encode", b"%PDF-1.7"),
        ("/encode", b"\0\0\0\x0cjP  \r\n\x87\n"),
        ("/decode", b"hello"),
        ("/decode", b"\x89PNG\r\n\x1a\n"),
        ("/interpolate", b"\x89PNG\r\n\x1a\n"),
        ("/interpolate", npy(np.zeros((2, 28, 28), np.uint8))),
        ("/sample", npy(np.zeros((2, 28, 28), np.uint8))),
    ],
)
def test_bytes_of_no_use_here(client: httpx.Client, path: str, body: bytes) -> None:
    problem(client.post(path, content=body), 415, "unsupported_media_type")
    problem(client.post(path, content=b"hello", headers={"content-type": "text/plain"}), 415, "unsupported_media_type")
    if path == "/encode":
        problem(client.post(path, content=b"hello", headers={"content-type": "image/png"}), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sed=7", ["sed", "did you mean seed"]),
        ("zzz=1", ["zzz", "temperature"]),
        ("n=0", ["n"]), ("n=-1", ["n"]), ("n=x", ["n", "'x'"]), ("n=", ["n"]), ("n=1e3", ["n"]), ("n=1&n=2", ["n"]),
        (f"n={'9' * 5000}", ["n"]),
        ("seed=-1", ["seed"]), ("seed=9007199254740992", ["seed"]), ("seed=0.5", ["seed"]), (f"seed={'9' * 5000}", ["seed"]),
        ("temperature=nan", ["temperature"]), ("temperature=inf", ["temperature"]), ("temperature=-1", ["temperature"]),
        ("temperature=101", ["temperature"]),
        ("format=webp", ["format"]), ("format=PNG", ["format"]), ("dtype=int8", ["dtype"]), ("layout=circle", ["layout"]),
        ("include=mu", ["include"]), ("timeout_ms=0", ["timeout_ms"]), ("timeout_ms=3600001", ["timeout_ms"]),
        ("%00=1", []), ("%ff=1", []), ("%zz=1", []),
    ],
)  # fmt: skip
def test_parameters_that_do_not_exist_or_fit(client: httpx.Client, query: str, words: list[str]) -> None:
    problem(client.get(f"/sample?{query}"), 422, "invalid_parameter", *words)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sample", {"seed": 1.5}), ("/sample", {"seed": True}), ("/sample", {"seed": "1"}), ("/sample", {"seed": 2**53}),
        ("/sample", {"n": None}), ("/sample", {"n": "4"}), ("/sample", {"include": [1]}), ("/sample", {"include": [{}]}),
        ("/sample", {"sed": 1}), ("/decode", {"z": [[0.0] * 20], "x": 1}), ("/interpolate", {**ENDS, "steps": 1}),
        ("/interpolate", {**ENDS, "method": "cubic"}), ("/interpolate", {**ENDS, "stop": {}}),
        ("/encode", {"images": ["x"], "imags": []}), ("/reconstruct", {"images": ["x"], "mode": "median"}),
        ("/reconstruct", {"images": ["x"], "compare": True, "format": "npy"}),
        ("/reconstruct", {"images": ["x"], "compare": "yes"}),
    ],
)  # fmt: skip
def test_keys_of_a_body_that_do_not_exist_or_fit(client: httpx.Client, path: str, body: Any) -> None:
    problem(client.post(path, json=body), 422, "invalid_parameter")


def test_forms_with_the_wrong_fields(client: httpx.Client, pngs: list[bytes]) -> None:
    image = part("image", pngs[0], "x.png")
    for path, body, code in (
        ("/encode", b"--x--\r\n", "unusable_input"),
        ("/encode", part("seed", b"1") + b"--x--\r\n", "unusable_input"),
        ("/encode", image + part("picture", pngs[0], "y.png") + b"--x--\r\n", "invalid_parameter"),
        ("/encode", image + part("images", pngs[0], "y.png") + b"--x--\r\n", "invalid_parameter"),
        ("/encode", image + part("seed", b"1") + part("seed", b"1") + b"--x--\r\n", "invalid_parameter"),
        ("/encode", image + part("sead", b"1") + b"--x--\r\n", "invalid_parameter"),
        ("/interpolate", part("start", pngs[0], "x.png") + b"--x--\r\n", "unusable_input"),
        ("/interpolate", part("start", b"[1]") + part("end", b"[1]") + b"--x--\r\n", "unusable_input"),
        ("/interpolate", part("start", b"1") + part("end", b"{}") + b"--x--\r\n", "unusable_input"),
        ("/interpolate", 2 * part("start", pngs[0], "x.png") + part("end", pngs[0], "x") + b"--x--\r\n", "unusable_input"),
    ):
        problem(client.post(path, content=body, headers=FORM), 422, code)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "\xb2", "9" * 400, "9" * 5000])
def test_deadlines_that_are_none(client: httpx.Client, value: str) -> None:
    answer = client.get("/sample", headers={b"x-timeout-ms": value.encode("latin-1")})
    problem(answer, 422, "invalid_parameter", "X-Timeout-Ms")


def test_models_that_are_not_loaded(client: httpx.Client) -> None:
    for answer in (
        client.get("/models/mnits"),
        client.get("/sample?model=mnits"),
        client.post("/decode?model=mnits", json={"z": [[0.0] * 20]}),
    ):
        problem(answer, 404, "unknown_model", "mnits", "did you mean mnist", "fashion-mnist")
    problem(client.get("/sample?model="), 404, "unknown_model")
    problem(client.get("/models/%00"), 404, "unknown_model")
    for path in ("/nowhere", "/models/..%2f..%2fetc", "/encode/x"):
        problem(client.get(path), 404, "not_found", "/docs")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/encode", {"POST"}),
        ("PUT", "/sample", {"GET", "POST"}),
        ("DELETE", "/models/mnist", {"GET"}),
        ("POST", "/info", {"GET"}),
    ],
)
def test_methods_that_are_not_there(client: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    answer = client.request(method, path)
    problem(answer, 405, "method_not_allowed", method, path)
    assert {word.strip() for word in answer.headers["allow"].split(",")} >= allowed
