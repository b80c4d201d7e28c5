"""Texts from lines, files and tunes."""

from fractions import Fraction
from pathlib import Path

import pytest

from models.kinds.text import TextFormat
from models.readers.download import DataError
from models.readers.texts import read_texts
from models.readers.tunes import duration

TUNE = """X: 1
T:The Test
% a comment
S:me
M:3/4
L:1/4
K:D
P:A
A|"D"d2 e|f2 e/2f/2|\\
"A7"e3|a2:|
|:A|d>e f|(3def g|[df]2 [eg]|d2:|
"""


def lines(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_each_line_is_a_text(tmp_path: Path) -> None:
    found = read_texts(lines(tmp_path / "some.txt", "ab\n\nba c\n"))
    assert found.kind == "text"
    assert found.preprocessing == TextFormat(4, list(" abc"))
    assert found.preprocessing.items(found.x) == ["ab", "ba c"]
    assert "left out: empty lines: 1 (number 2)" in found.summary
    assert "tokens: 4 characters: ' abc'" in found.summary


def test_bytes_on_demand_or_where_there_are_too_many_characters(tmp_path: Path) -> None:
    path = lines(tmp_path / "some.txt", "é\nab\n")
    assert read_texts(path, units="bytes").preprocessing == TextFormat(2, "bytes")
    many = lines(tmp_path / "many.txt", "\n".join(map(chr, range(0x4E00, 0x4E00 + 600))))
    found = read_texts(many)
    assert found.preprocessing.tokens == "bytes"
    assert "tokens: the bytes of UTF-8, because there are 600 different characters" in found.summary
    assert read_texts(many, units="characters").preprocessing.count == 601


def test_letters_with_accents_are_one_character(tmp_path: Path) -> None:
    path = lines(tmp_path / "some.txt", "e\u0301a\n\u00e9a\n")
    found = read_texts(path)
    assert found.preprocessing == TextFormat(2, ["a", "\u00e9"])
    assert found.x.tolist() == [[2, 1], [2, 1]]
    assert read_texts(path, model=TextFormat(9, ["a", "\u00e9"])).x.shape == (2, 9)
    assert read_texts(path, units="bytes").preprocessing.max_length == 4


def test_long_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read_texts(lines(tmp_path / "some.txt", "a" * 600 + "\nab\nabc\n"))
    assert found.preprocessing.max_length == 512
    assert "left out: 1 text of more than 512 tokens; --max-length N takes more" in found.summary
    assert len(read_texts(tmp_path / "some.txt", max_length=2).x) == 1
    with pytest.raises(DataError, match="no text has at most 1 tokens"):
        read_texts(tmp_path / "some.txt", max_length=1)


def test_characters_that_a_model_does_not_know_are_counted(tmp_path: Path) -> None:
    found = read_texts(lines(tmp_path / "some.txt", "ab\nax\n"), model=TextFormat(9, list("ab")))
    assert found.x.shape == (1, 9)
    assert "left out: 1 text with characters that the model does not know" in found.summary


def test_names_are_those_of_lines_whatever_is_kept(tmp_path: Path) -> None:
    model = TextFormat(4, list("abcdefx"))
    found = read_texts(lines(tmp_path / "some.txt", "abc\nABC#\n\n" + "x" * 100 + "\ndef\n"), model=model)
    assert found.names == ["000000", "000004"]
    assert [(name, place) for name, place, _ in found.unread] == [("000001", "line 2"), ("000003", "line 4")]
    assert "the text has the characters '#' (U+0023), 'A' (U+0041)" in found.unread[0].reason
    assert "left out: 1 text of more than 4 tokens, the most that the model takes" in found.summary
    with pytest.raises(DataError, match="the model takes none of the 1 texts; line 1: the text has 5 tokens"):
        read_texts(lines(tmp_path / "some.txt", "abcde"), model=model)


def test_a_file_of_a_folder_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    lines(tmp_path / "good.txt", "abc")
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    found = read_texts(tmp_path)
    assert found.names == ["good.txt"]
    assert [(one.name, one.reason.partition(";")[0]) for one in found.unread] == [("bad.txt", "not UTF-8 at byte 3")]
    assert any("left out: files that cannot be read" in line and "bad.txt" in line for line in found.summary)


def test_tunes_are_named_by_their_number_in_their_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines(tmp_path / f"{name}.abc", "X:1\nT:no key\n\n" + TUNE)
    assert read_texts(tmp_path).names == ["a.abc/000001", "b.abc/000001"]
    assert read_texts(tmp_path / "a.abc").names == ["000001"]


def test_each_file_of_a_folder_is_a_text(tmp_path: Path) -> None:
    for name in ("train/b", "train/a", "test/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        lines(tmp_path / f"{name}.txt", f"text\n{name[-1]}")
    found = read_texts(tmp_path)
    assert found.preprocessing.items(found.x) == ["text\nc", "text\na", "text\nb"]
    assert found.splits == ["test", "train", "train"]


def test_tunes_keep_what_is_music(tmp_path: Path) -> None:
    found = read_texts(lines(tmp_path / "some.abc", "header\n" + TUNE + "\nX:2\nK:C\nCDE|\n"))
    first, second = found.preprocessing.items(found.x)
    assert first.startswith('X:1\nM:3/4\nL:1/4\nK:D\nA|"D"d2 e|')
    assert second == "X:1\nK:C\nCDE|\n"
    assert "left out of the tunes: the fields T 1, S 1, P 1" in found.summary


def test_phrases_are_whole_bars_of_one_key(tmp_path: Path) -> None:
    found = read_texts(lines(tmp_path / "some.abc", TUNE), bars=4)
    phrases = found.preprocessing.items(found.x)
    head = "X:1\nM:3/4\nL:1/4\nK:D\n"
    assert phrases[0] == head + '"D"d2 e|f2 e/2f/2|"A7"e3|a2 A|\n'
    assert phrases[1] == head + 'f2 e/2f/2|"A7"e3|a2 A|d>e f|\n'
    assert len(phrases) == 4
    assert found.groups is not None
    assert found.groups.numbers.tolist() == [0] * 4
    assert "left out of the phrases: 2 bars whose length is not that of the meter" in found.summary


@pytest.mark.parametrize(
    ("bar", "length"),
    [
        ('"G"B2 ^A/2B/4z/', Fraction(13, 4)),
        ("A3/2B//", Fraction(7, 4)),
        ("(3ABc d", 3),
        ("a>b c<d", 4),
        ("[ceg]2 [c2e2]", 4),
        ("{gf}e2 !trill!d ~c,'", 4),
        ("A2-A (Bc)", 5),
        ("[K:G]A", None),
        ("what?", None),
    ],
)
def test_lengths_of_bars(bar: str, length: Fraction | None) -> None:
    assert duration(bar) == length


@pytest.mark.parametrize(
    ("name", "content", "bars", "reason"),
    [
        ("a.zip", b"PK", None, "is an archive: unpack it"),
        ("a.txt", b"caf\xe9", None, "not UTF-8 at byte 3; convert it"),
        ("a.txt", b"", None, "has no texts; it is empty"),
        ("a.txt", b"abc", 4, "--bars is for tunes in files named *.abc"),
        ("a.abc", b"X:1\nK:C\nCDE|", 0, "--bars must be from 1"),
        ("a.abc", b"CDE", None, "has no texts"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, bars: int | None, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_texts(tmp_path / name, bars=bars)
    assert reason in str(caught.value)
