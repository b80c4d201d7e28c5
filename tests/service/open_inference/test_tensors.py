"""Tensors are exactly what their shapes and datatypes say, or they are refused."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.engine.errors import TooLarge
from service.formats.errors import BadInput
from service.http.problems import HttpError
from service.open_inference.datatypes import BF16, BYTES, NUMBERS, ONLY_BINARY
from service.open_inference.errors import BadRequest
from service.open_inference.request import InferRequest, RawInput, read_request, stated_length
from service.open_inference.tensors import (
    Tensor,
    checked_shape,
    from_binary,
    from_json,
    numbers,
    strings,
    to_binary,
    to_json,
)
from tests.service.open_inference.bodies import packed

FINITE = [name for name in NUMBERS if name not in (BF16, "FP16")]


@given(st.sampled_from(FINITE), st.data())
def test_numbers_come_back(datatype: str, data: st.DataObject) -> None:
    """Through binary data and through JSON, nested or flat."""
    options = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    array = data.draw(arrays(NUMBERS[datatype], array_shapes(max_dims=4, max_side=4), elements=options or None))
    tensor = numbers("x", datatype, array)
    assert np.array_equal(from_binary("x", datatype, array.shape, memoryview(to_binary(tensor))).numbers, array)
    flat = json.loads(json.dumps(to_json(tensor).tolist()))  # type: ignore[union-attr]
    for given_ in (flat, array.tolist()):
        assert np.array_equal(from_json("x", datatype, array.shape, given_).numbers, array)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9))
def test_bytes_come_back(elements: list[bytes]) -> None:
    data = to_binary(strings("x", elements))
    assert data == packed(elements)
    assert list(from_binary("x", BYTES, (len(elements),), memoryview(data)).elements) == elements
    for wrong in (data + b"\0", data + packed([b""]), data[:-1]):
        with pytest.raises(BadRequest):
            from_binary("x", BYTES, (len(elements),), memoryview(wrong))


@given(st.lists(st.text(max_size=9), min_size=1, max_size=9))
def test_texts_come_back(texts: list[str]) -> None:
    elements = [text.encode("utf-8", "replace") for text in texts]
    tensor = from_json("x", BYTES, (len(texts),), to_json(strings("x", elements)))
    assert list(tensor.elements) == elements


def test_bfloat16_is_the_upper_half() -> None:
    array = np.array([1.5, -3.25, 0.0, 1e30], np.float32)
    upper = (array.view(np.uint32) >> 16).astype("<u2")
    found = from_binary("x", BF16, (4,), memoryview(upper.tobytes())).numbers
    assert found.dtype == np.float32
    assert np.allclose(found, array, rtol=2**-7)


@pytest.mark.parametrize("datatype", ["FP16", BF16, "FP32", "FP64"])
def test_only_finite_numbers(datatype: str) -> None:
    words = {"FP16": ("<H", 0x7C00, 0x7E00), BF16: ("<H", 0x7F80, 0x7FC0), "FP32": ("<I", 0x7F800000, 0x7FC00000)}
    form, infinity, nan = words.get(datatype, ("<Q", 0x7FF << 52, 0xFFF << 51))
    for word in (infinity, nan):
        with pytest.raises(BadRequest, match="not finite"):
            from_binary("x", datatype, (1,), memoryview(struct.pack(form, word)))
    if datatype in ONLY_BINARY:
        with pytest.raises(BadRequest, match="cannot be sent as JSON"):
            from_json("x", datatype, (1,), [1.0])


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("UINT8", (2,), [1]), ("UINT8", (1,), [1, 2]), ("UINT8", (1,), [256]), ("UINT8", (1,), [-1]), ("UINT8", (1,), [1.0]),
        ("UINT8", (1,), [True]), ("UINT8", (1,), ["1"]), ("UINT8", (1,), [None]), ("UINT8", (1,), [{}]), ("UINT8", (1,), 1),
        ("UINT8", (1,), None), ("UINT8", (2,), [[1], 2]), ("UINT8", (2,), [1, [2]]), ("UINT8", (1,), [[[[[[[[[[1]]]]]]]]]]),
        ("INT64", (1,), [2**63]), ("UINT64", (1,), [-1]), ("UINT64", (1,), [2**64]), ("FP32", (1,), [1e39]),
        ("FP32", (1,), ["1"]), ("BOOL", (1,), [1]), ("BYTES", (1,), [1]), ("BYTES", (2,), ["ab"]), ("BYTES", (1,), ["\ud800"]),
    ],
)  # fmt: skip
def test_json_that_does_not_fit(datatype: str, shape: tuple[int, ...], data: object) -> None:
    with pytest.raises(BadRequest, match="input 'x'"):
        from_json("x", datatype, shape, data)


@pytest.mark.parametrize("shape", [None, [], "1", [0], [-1], [1.0], [True], [None], [[1]], [1] * 9, {}, [2**70, 0]])
def test_shapes_that_are_none(shape: object) -> None:
    with pytest.raises(BadRequest, match="shape"):
        checked_shape("x", "UINT8", shape, 10)


def test_a_huge_count_costs_nothing() -> None:
    shape = checked_shape("x", "UINT8", [2**62, 2**62], 10)
    with pytest.raises(BadRequest, match="bytes"):
        from_binary("x", "UINT8", shape, memoryview(b"12"))
    with pytest.raises(TooLarge):
        checked_shape("x", "BYTES", [2**40], 10)
    with pytest.raises(BadRequest, match="element 0 ends at byte 4294967299"):
        from_binary("x", BYTES, (1,), memoryview(b"\xff" * 10))


def sized(size: object, shape: list[int], data: bytes = b"", **fields: Any) -> tuple[bytes, int]:
    one = {"name": "x", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [one], **fields}).encode()
    return text + data, len(text)


def read(body: bytes, length: int, raw: RawInput | None = None) -> InferRequest:
    return read_request(body, length, ("seed",), 10, raw)


@pytest.mark.parametrize(
    ("size", "shape", "data"),
    [(3, [4], b"1234"), (5, [4], b"1234"), (4, [3], b"1234"), (4, [5], b"1234"), (4, [4], b"12345"), (-1, [4], b"1234"),
     ("4", [4], b"1234"), (4.0, [4], b"1234"), (True, [1], b"1"), (10**30, [4], b"1234"), (0, [4], b"")],
)  # fmt: skip
def test_sizes_that_do_not_add_up(size: object, shape: list[int], data: bytes) -> None:
    with pytest.raises(BadRequest):
        read(*sized(size, shape, data))


def test_binary_and_json_inputs_mixed() -> None:
    """Binary data stand in the order of the inputs, whatever JSON is between them."""
    inputs = [
        {"name": "a", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}},
        {"name": "b", "shape": [1, 2], "datatype": "INT32", "data": [[5, 6]]},
        {"name": "c", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}},
    ]
    text = json.dumps({"inputs": inputs, "id": "7", "parameters": {"timeout": 5, "binary_data_output": True}}).encode()
    found = read(text + b"\1\2" + packed([b"abc"]), len(text))
    assert found.inputs["a"].numbers.tolist() == [1, 2]
    assert found.inputs["b"].numbers.tolist() == [[5, 6]]
    assert found.inputs["c"].elements == [b"abc"]
    assert (found.id, found.timeout, found.binary, found.outputs) == ("7", 5e-6, True, {})


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 200), st.integers(0, 255))
def test_no_body_raises_anything_else(noise: bytes, cut: int, place: int, byte: int) -> None:
    body, length = sized(4, [2, 2], b"1234", outputs=[{"name": "mu"}], parameters={"seed": 3})
    spoilt = bytearray(body)
    spoilt[place % len(spoilt)] = byte
    for content in (noise, bytes(spoilt), bytes(spoilt[: len(spoilt) - cut])):
        for size in (len(content), min(length, len(content)), min(cut, len(content))):
            try:
                found = read(content, size, RawInput("x", "UINT8", (1, 4)))
            except (HttpError, BadInput, TooLarge):
                continue
            assert all(isinstance(one, Tensor) for one in found.inputs.values())


@pytest.mark.parametrize("stated", ["-1", "abc", "", "1e3", "5", "²", "9" * 400, "+1"])
def test_lengths_of_the_header(stated: str) -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        stated_length(stated, b"1234")


def test_a_length_of_the_header() -> None:
    assert stated_length(" 2 ", b"1234") == 2
    assert stated_length(None, b"1234") == 4
