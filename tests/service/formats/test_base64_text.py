"""Base64 as clients write it; what is none is bad input, never anything else."""

import base64
import binascii
import contextlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.formats import base64_text
from service.formats.errors import Undecodable, Unusable

MANY = settings(max_examples=300)
SEVEN = bytes(range(7))
TEXT = base64.b64encode(SEVEN).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:image/png;name=seven.png;base64,{TEXT}",
        f"{TEXT}\n",
        f"{TEXT[:4]}\r\n{TEXT[4:]}",
        f" {TEXT} ",
        f"data:image/png;base64,{TEXT[:4]}\n{TEXT[4:]}\n",
        TEXT.rstrip("="),
        f"data:image/png;base64,{TEXT.rstrip('=')}\n",
    ],
)
def test_base64_comes_in_many_dresses(text: str) -> None:
    assert base64_text.base64_bytes(text) == SEVEN


@pytest.mark.parametrize(
    "text",
    [
        *("!", "A", "AAAAA", "AA=A", "A===", "=AAA", "ÄÄÄÄ", "AAA\x00", "AA=", "\ud800"),
        *("data:", "data:image/png,AAAA", "data:image/png;base64;AAAA", "data:image/png;base64,!"),
        "data:" + 1000 * "x" + ";base64,AAAA",
    ],
)
def test_what_is_not_base64_is_undecodable(text: str) -> None:
    with pytest.raises(Undecodable, match="item 5: "):
        base64_text.base64_bytes(text, 5)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("AAAA A", "blanks, which probably stand where [+] belongs"),
        ("data:image/png;base64,AA AA A=", "blanks, which probably stand where [+] belongs"),
        (" AA=A ", "padding$"),
        ("data%3Aimage/png;base64,AAAA", "it is percent-encoded"),
        ("data:image/png;base64,AA%3D%3D", "it is percent-encoded"),
        ("data:image/png;base64%2CAAAA", "it is percent-encoded"),
        ("data:image/png,%89PNG", "must look like data:image/png;base64,...; it is percent-encoded"),
    ],
)
def test_what_was_done_to_base64_on_its_way_is_told(text: str, hint: str) -> None:
    with pytest.raises(Undecodable, match=hint):
        base64_text.base64_bytes(text)


@pytest.mark.parametrize("padding", ["", "=="])
def test_base64url(padding: str) -> None:
    assert base64_text.base64_bytes(f"-_-_\n_w{padding}") == base64.b64decode("+/+//w==")


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["AAAA"], {"data": "AAAA"}])
def test_base64_must_be_a_string(value: object) -> None:
    with pytest.raises(Unusable, match="must be a string"):
        base64_text.base64_bytes(value)


@MANY
@given(data=st.binary(), text=st.text(max_size=50))
def test_any_bytes_survive_base64_and_any_text_is_bytes_or_undecodable(data: bytes, text: str) -> None:
    assert base64_text.base64_bytes(base64.encodebytes(data).decode()) == data
    for prefix in ("", "data:image/png;base64,"):
        with contextlib.suppress(Undecodable):
            assert len(base64_text.base64_bytes(prefix + text)) <= len(text)


def in_one_go(text: str) -> bytes | None:
    text = "".join(text.split()).translate(str.maketrans("-_", "+/"))
    try:
        return binascii.a2b_base64(text if "=" in text else text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def test_base64_in_pieces_is_what_it_is_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base64_text, "BASE64_PIECE", 16)
    numbers, right = random.Random(0), 0
    for _ in range(5000):
        text = base64.b64encode(numbers.randbytes(numbers.randrange(60))).decode()
        for _ in range(numbers.randrange(4)):
            place, word = numbers.randrange(len(text) + 1), numbers.choice(["=", "==", "\n", " ", "A", "_", "!", "=\n=", "é"])
            text = text[:place] + word + text[place + numbers.randrange(2) :]
        try:
            found = base64_text.base64_bytes(text)
        except Undecodable:
            found = None
        assert found == in_one_go(text), text
        right += found is not None
    assert 1000 < right < 4000


@pytest.mark.parametrize("text", ["AAAA" * 1000, "AAAA" * 999 + "\n", "AAAA" * 900 + "!", "AAAA" * 900 + "é", "A" * 3999])
@pytest.mark.parametrize("piece", [16, 1 << 20])
def test_long_text_is_decoded_once_whatever_it_is(monkeypatch: pytest.MonkeyPatch, text: str, piece: int) -> None:
    """Invalid text of megabytes does not take twice as long as what is valid."""
    decoded, pieces = [], base64_text._base64_pieces

    def counted(text: bytes) -> Iterator[bytes]:
        decoded.append(text)
        return pieces(text)

    monkeypatch.setattr(base64_text, "BASE64_PIECE", piece)
    monkeypatch.setattr(base64_text, "_base64_pieces", counted)
    with contextlib.suppress(Undecodable):
        base64_text.base64_bytes(text)
    assert len(decoded) <= 1
