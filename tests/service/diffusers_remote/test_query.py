"""Parameters as diffusers' client writes them into the query, and all that is refused."""

from typing import Literal
from urllib.parse import urlencode

import pytest

from service.diffusers_remote.query import ClientQuery, UnusableQuery

KNOWN = ("shape", "dtype", "scaling_factor", "partial_postprocess", "height")
Format = Literal["jpg", "png"]


def query(text: str = "", **values: object) -> ClientQuery:
    return ClientQuery(text or urlencode(values, doseq=True), KNOWN)


def test_values_are_read_as_python_writes_them() -> None:
    read = query(shape=[1, 4, 64, 48], scaling_factor=0.18215, partial_postprocess=True, height=512)
    assert read.shape("the latents") == (1, 4, 64, 48)
    assert read.number("scaling_factor") == 0.18215
    assert read.flag("partial_postprocess") is True
    assert read.whole("height") == 512
    assert "height" in read
    assert "dtype" not in read


def test_what_is_not_given_is_none_or_the_default() -> None:
    read = query("_=17&utm_source=news")
    assert read.number("scaling_factor") is read.flag("partial_postprocess") is read.whole("height") is None
    assert read.word("dtype", Format, "png") == "png"


@pytest.mark.parametrize("dim", ["0", "-1", "", "1.0", "4,8", "[1]", "1e3", "١", "9" * 13, "9" * 5000, "nan"])
def test_a_dimension_is_a_positive_whole_number(dim: str) -> None:
    with pytest.raises(
        UnusableQuery, match="each shape must be a whole number from 1 to 999999999999, one for each dimension, not "
    ):
        query(shape=[1, dim]).shape("the latents")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "1e300", "-1000001", "", "x", "0x1", "1,5"])
def test_a_number_is_one_that_float32_can_compute_with(number: str) -> None:
    with pytest.raises(UnusableQuery, match="scaling_factor must be a number from -1e\\+06 to 1e\\+06, not "):
        query(scaling_factor=number).number("scaling_factor")


@pytest.mark.parametrize("number", ["0", "-8", "8.0", "", "²", "٣", "9" * 5000, str(10**12 + 1)])
def test_a_whole_number_is_within_its_bounds(number: str) -> None:
    with pytest.raises(UnusableQuery, match="height must be a whole number from 1 to 1000000000000, not "):
        query(height=number).whole("height")


@pytest.mark.parametrize("flag", ["", "yes", "1", "None"])
def test_a_flag_is_true_or_false(flag: str) -> None:
    with pytest.raises(UnusableQuery, match="partial_postprocess must be true or false, not "):
        query(partial_postprocess=flag).flag("partial_postprocess")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scaling_facter=1", "unknown parameter 'scaling_facter'; did you mean scaling_factor[?]"),
        ("zzz=1", "unknown parameter 'zzz'; the parameters are shape, dtype, "),
        ("height=8&height=9", "height is given twice"),
        ("&".join(["shape=1"] * 33), "the query has more than 32 parameters"),
    ],
)
def test_a_query_with_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnusableQuery, match=message):
        query(text)


def test_a_missing_shape_and_an_unknown_word_say_what_to_send() -> None:
    with pytest.raises(
        UnusableQuery,
        match="shape is missing: send one for each dimension of the latents, such as shape=1&shape=4&shape=64&shape=64",
    ):
        query().shape("the latents")
    with pytest.raises(UnusableQuery, match="dtype must be jpg or png, not 'gif'; ask for less"):
        query(dtype="gif").word("dtype", Format, "png", {"gif": "ask for less"})
    with pytest.raises(UnusableQuery, match=r"dtype must be jpg or png, not 'bmp'$"):
        query(dtype="bmp").word("dtype", Format, "png", {"gif": "ask for less"})
