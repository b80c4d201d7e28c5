"""npy in: hostile headers, wrong shapes and ranges; npy out."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.formats.errors import BadInput, Undecodable, Unusable
from service.formats.npy import npy, npy_array, picture_rows

MANY = settings(max_examples=300, deadline=None, derandomize=True)


def saved(array: NDArray[Any], version: tuple[int, int] = (1, 0)) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version)
    return out.getvalue()


def forged(
    shape: str = "(2, 3)", descr: str = "'<f4'", fortran: str = "False", data: bytes = bytes(24), extra: str = ""
) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}{extra}}}\n".encode("latin-1")
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


# --- npy arrays


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_numbers_of_every_kind_arrive_as_they_are(dtype: str, order: Any, version: tuple[int, int]) -> None:
    sent = np.arange(24).astype(dtype).reshape(2, 3, 4).copy(order=order)
    array = npy_array(saved(sent, version))
    np.testing.assert_array_equal(array, sent)
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert array.dtype.isnative
    assert array.flags.c_contiguous


@pytest.mark.parametrize("shape", [(0, 3), (1,), (1, 1, 1, 1, 1), (3, 0)])
def test_odd_shapes_arrive_too(shape: tuple[int, ...]) -> None:
    assert npy_array(saved(np.zeros(shape, np.float32))).shape == shape


def test_an_array_is_not_copied() -> None:
    body = saved(np.arange(6, dtype=np.float32))
    assert np.shares_memory(npy_array(body), np.frombuffer(body, np.uint8))


def test_a_stated_shape_is_not_believed() -> None:
    assert npy_array(forged()).shape == (2, 3)
    for shape in ("(2, 4)", "(1, 3)", "(-2, -3)", "(-1, 3)", "(2, -3)", "(0,)", "(1000000, 1000000)", f"({2**70}, 3)", "()"):
        with pytest.raises(Undecodable, match="24 bytes of data, but its header says float32"):
            npy_array(forged(shape))


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        (f"(0, {10**30})", b""),
        (f"({2**63}, 0)", b""),
        (str((1,) * 100), bytes(4)),
        (str((0,) * 65), b""),
        ("(True, 1)", bytes(4)),
        ("(False,)", b""),
        ("(1.0,)", bytes(4)),
        ("[1]", bytes(4)),
        ("1", bytes(4)),
        ("None", bytes(4)),
    ],
)
def test_shapes_that_no_array_can_have_are_undecodable(shape: str, data: bytes) -> None:
    with pytest.raises(Undecodable):
        npy_array(forged(shape, data=data))


@pytest.mark.parametrize(
    "descr", ["'|O'", "'<U3'", "'|S4'", "'?'", "'<c8'", "'<M8[s]'", "'<m8[s]'", "'|V4'", "[('x', '<f4')]", "('<f4', (2,))"]
)
def test_what_is_no_number_is_unusable(descr: str) -> None:
    with pytest.raises(Unusable, match="an array of numbers is needed"):
        npy_array(forged("(1,)", descr, data=bytes(8)))


@pytest.mark.parametrize(
    "body",
    [
        forged(descr="'nonsense'"),
        forged(descr="__import__('os').getpid()"),
        forged(descr="7"),
        forged(fortran="1"),
        forged(extra=", 'more': 1"),
        b"\x93NUMPY\1\0\x08\0not it}\n",
        b"\x93NUMPY\1\0\x02\0{}",
        forged(extra=" " * 20_000),
        forged(extra=", 'deep': " + "(" * 3000 + ")" * 3000),
        b"\x93NUMPY\2\0\xff\xff\xff\xff{",
        b"\x93NUMPY\3\0" + forged()[8:],
        saved(np.zeros(3), (3, 0)),
        b"\x93NUMPY\x09\x09",
        b"\x93NUMPY",
        b"\x93NUMP",
        b"",
        b"not npy at all, but sent as such",
        saved(np.zeros((2, 3), np.float32)) + b"\0",
    ],
)
def test_a_spoiled_array_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="npy"):
        npy_array(body)


def test_a_truncated_array_is_undecodable() -> None:
    body = saved(np.arange(6, dtype=np.float32))
    for length in range(len(body)):
        with pytest.raises(Undecodable):
            npy_array(body[:length])


SIZES = st.one_of(st.integers(-2, 4), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.floats())


@MANY
@given(
    shape=st.lists(SIZES, max_size=70).map(tuple),
    descr=st.sampled_from(["<f4", "u1", ">i8", "<f2", "<g", "|O", "?", "<U2", "|V3", "<f4, <f4", "f", "(2,)f4", "", "\0"]),
    data=st.binary(max_size=40),
)
def test_any_header_gives_an_array_or_bad_input(shape: tuple[object, ...], descr: str, data: bytes) -> None:
    try:
        array = npy_array(forged(repr(shape), repr(descr), data=data))
    except BadInput:
        return
    assert array.nbytes == len(data)


@MANY
@given(place=st.integers(0, 200), byte=st.integers(0, 255), array=st.sampled_from([np.zeros((2, 3)), np.zeros(3, np.uint8)]))
def test_any_spoiled_byte_gives_an_array_or_bad_input(place: int, byte: int, array: NDArray[Any]) -> None:
    body = bytearray(saved(array))
    body[place % len(body)] = byte
    with contextlib.suppress(BadInput):
        assert npy_array(bytes(body)).nbytes == array.nbytes


@pytest.mark.parametrize("array", [np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 3), np.float32)])
def test_npy_out_is_npy_in(array: NDArray[Any]) -> None:
    np.testing.assert_array_equal(np.load(io.BytesIO(npy(array)), allow_pickle=False), array)
    np.testing.assert_array_equal(npy_array(npy(array[:, ::-1])), array[:, ::-1])


# --- pictures from npy


@pytest.mark.parametrize(("shape", "model"), [((5, 6, 7), (6, 7, 1)), ((5, 6, 7, 1), (6, 7, 1)), ((5, 6, 7, 3), (6, 7, 3))])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_become_channels_first(shape: tuple[int, ...], model: tuple[int, int, int], dtype: Any) -> None:
    sent = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    rows = picture_rows(sent, model)
    assert (rows.dtype, rows.shape) == (dtype, (5, model[2], 6, 7))
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows.transpose(0, 2, 3, 1).reshape(shape), sent)


@pytest.mark.parametrize(
    ("shape", "model"),
    [
        ((6, 7), (6, 7, 1)),
        ((5, 7, 6), (6, 7, 1)),
        ((5, 6, 7, 3), (6, 7, 1)),
        ((5, 6, 7), (6, 7, 3)),
        ((5, 3, 6, 7), (6, 7, 3)),
        ((5, 6, 7, 1), (6, 7, 3)),
        ((1, 5, 6, 7, 1), (6, 7, 1)),
        ((), (6, 7, 1)),
    ],
)
def test_pictures_of_another_shape_are_told_the_right_one(shape: tuple[int, ...], model: tuple[int, int, int]) -> None:
    with pytest.raises(Unusable) as caught:
        picture_rows(np.zeros(shape, np.uint8), model)
    assert f"uint8 {shape}" in str(caught.value)
    assert f"(N, 6, 7, {model[2]})" in str(caught.value)
    assert ("or (N, 6, 7)" in str(caught.value)) == (model[2] == 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.int8, np.uint16])
def test_pictures_of_another_type_are_told_the_right_one(dtype: Any) -> None:
    with pytest.raises(Unusable, match="uint8 or float32"):
        picture_rows(np.zeros((2, 6, 7), dtype), (6, 7, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-6, 1.0001, 255])
def test_float_pixels_outside_of_0_to_1_name_the_first_picture(value: float) -> None:
    pictures = np.full((4, 6, 7), 0.5, np.float32)
    picture_rows(pictures, (6, 7, 1))
    pictures[2, 5, 6] = pictures[3, 0, 0] = value
    with pytest.raises(Unusable, match=r"item 2: float32 pixels must be finite and in \[0, 1\]") as caught:
        picture_rows(pictures, (6, 7, 1))
    assert caught.value.item == 2
    np.testing.assert_array_equal(picture_rows(pictures, (6, 7, 1), any_floats=True)[:, 0], pictures)
