"""JSON and latents in: wrong shapes, kinds and ranges."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.formats.errors import Undecodable, Unusable
from service.formats.json_values import json_list, json_object
from service.formats.latent_rows import latent_rows

MANY = settings(max_examples=300, deadline=None, derandomize=True)

# --- latents


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2, 3], [0.5, -1, 1e4]],
        np.ones((2, 3), np.float64),
        np.ones((2, 3), np.float16),
        np.ones((2, 3), np.int8),
        np.ones((3, 2), np.float32).T,
    ],
)
def test_latents_become_float32_rows(value: Any) -> None:
    z = latent_rows(value, 3)
    assert z.dtype == np.float32
    assert (z.shape, z.flags.c_contiguous) == ((2, 3), True)
    np.testing.assert_array_equal(z, np.asarray(value, np.float32))


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3],
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[1, 2, 3], [1, 2]],
        [[[1, 2, 3]]],
        [[]],
        [],
        [[True, False, True]],
        [[1, 2, True]],
        [["1", "2", "3"]],
        [[1, 2, "3"]],
        [[1, 2, None]],
        [None],
        [{"z": 1}],
        ["abc"],
        [[1, 2, [3]]],
        [[1, 2, 2**70]],
        np.ones((2, 3), np.bool_),
        np.ones((2, 3), np.complex64),
        np.ones(3, np.float32),
    ],
)
def test_what_are_no_latents_are_told_the_right_shape(value: Any) -> None:
    with pytest.raises(Unusable, match=r"\(N, 3\)"):
        latent_rows(value, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.001e4, -2e4, 1e300])
def test_a_latent_that_a_decoder_could_overflow_on_is_named(value: float) -> None:
    z = np.zeros((4, 3))
    z[1, 2] = value
    for given_as in (z, z.tolist()):
        with pytest.raises(Unusable, match=r"item 1: latents must be finite and between -10000 and 10000"):
            latent_rows(given_as, 3)


def test_a_number_beyond_float64_is_not_finite_either() -> None:
    z = np.full((1, 3), np.finfo(np.longdouble).max)
    with pytest.raises(Unusable, match="item 0: latents must be finite"):
        latent_rows(z, 3)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x, max_size=4))


@MANY
@given(value=st.lists(JSON, max_size=4))
@example(value=[[[[0]]]])
def test_any_list_is_latents_or_unusable(value: list[Any]) -> None:
    with contextlib.suppress(Unusable):
        assert latent_rows(value, 2).shape == (len(value), 2)


def test_lists_nested_deeper_than_arrays_go_are_unusable() -> None:
    value: list[Any] = [1]
    for _ in range(500):
        value = [value]
    with pytest.raises(Unusable):
        latent_rows(value, 3)


# --- JSON


@pytest.mark.parametrize("body", [b"", b"{", b"{'z': 1}", b'{"z": NaN}', b'{"z": 1e999}', b"\xef\xbb\xbf{", b"[" * 5000])
def test_what_is_not_json_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="not JSON"):
        json_object(body)
    with pytest.raises(Undecodable, match="start is neither a file nor a JSON list"):
        json_list(body, "start")


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    assert json_object(b'\xef\xbb\xbf{"z": [1]}') == {"z": [1]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told(encoding: str) -> None:
    with pytest.raises(Undecodable, match="the JSON is UTF-16, as PowerShell writes it; send UTF-8"):
        json_object('{"z": [1]}'.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_utf_32_is_told(encoding: str) -> None:
    with pytest.raises(Undecodable, match="the JSON is UTF-32; send UTF-8"):
        json_object('{"z": [1]}'.encode(encoding))


def test_other_encodings_are_told() -> None:
    with pytest.raises(Undecodable, match="the JSON is not UTF-8; save or encode it as UTF-8"):
        json_object('{"name": "é"}'.encode("latin-1"))
    with pytest.raises(Undecodable, match="start is neither a file nor a JSON list of numbers: it is not UTF-8"):
        json_list(b'["\xe9"]', "start")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"z"', b"true"])
def test_json_of_another_kind_is_unusable(body: bytes) -> None:
    with pytest.raises(Unusable, match="must be an object"):
        json_object(body)
    if body != b"[]":
        with pytest.raises(Unusable, match="end must be a file or a JSON list"):
            json_list(body, "end")


def test_json_is_read() -> None:
    assert json_object(b'{"z": [[1, 2.5]]}') == {"z": [[1, 2.5]]}
    assert json_list(b"[1, 2.5]", "start") == [1, 2.5]
