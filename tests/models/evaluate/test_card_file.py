"""Writing cards: what a person wrote is never lost, and what was done is said."""

from pathlib import Path

import pytest

from models.evaluate.card_file import FrontMatter, front_matter_of, is_own, marked, write_card

OWN = "---\nlicense: mit\n---\n\n# mine\n\nNumbers: {}\n"
HAND = "---\nlanguage: en\ntags:\n  - faces\n---\n\n# My model\n\nMonths of work.\n"


def text(number: int = 1) -> str:
    return marked(OWN.format(number))


def written(directory: Path, number: int, overwrite: bool = False) -> str:
    return write_card(directory, lambda before: text(number), overwrite).replace(f"{directory}/", "")


def test_a_card_of_our_own_is_written_anew(tmp_path: Path) -> None:
    assert written(tmp_path, 1) == "card: README.md"
    assert written(tmp_path, 2) == "card: README.md"
    assert (tmp_path / "README.md").read_text() == text(2)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("change", ["", "prose", "mark", "cut", "empty", "large", "bytes"])
def test_what_a_person_wrote_stays(change: str, tmp_path: Path) -> None:
    own = text().encode()
    content = {
        "": HAND.encode(),
        "prose": own.replace(b"Numbers", b"My numbers"),
        "mark": own.replace(b"# mine", b"# yours"),
        "cut": own[:-30],
        "empty": b"",
        "large": HAND.encode() + b" " * (1 << 22),
        "bytes": b"\xff\xfe\x00",
    }[change]
    (tmp_path / "README.md").write_bytes(content)
    said = written(tmp_path, 2)
    assert said.startswith("card: README.vae.md, because README.md has a text that models.evaluate did not write")
    assert "--overwrite-card writes the card into README.md" in said
    assert (tmp_path / "README.md").read_bytes() == content
    assert (tmp_path / "README.vae.md").read_text() == text(2)
    written(tmp_path, 3)
    assert (tmp_path / "README.vae.md").read_text() == text(3)
    (tmp_path / "README.vae.md").write_text(HAND)
    assert written(tmp_path, 4).startswith("card: not written, because README.md has")
    assert (tmp_path / "README.vae.md").read_text() == HAND
    assert written(tmp_path, 5, overwrite=True) == "card: README.md"
    assert (tmp_path / "README.md").read_text() == text(5)


def test_changes_of_the_front_matter_and_of_line_ends_keep_a_card_our_own(tmp_path: Path) -> None:
    assert is_own(text())
    assert is_own(text().replace("license: mit", "license: apache-2.0\nlanguage: en"))
    assert not is_own(text().replace("Numbers: 1", "Numbers: 2"))
    assert not is_own(text() + "\nMore.\n")
    (tmp_path / "README.md").write_bytes(text().replace("\n", "\r\n").encode())
    assert written(tmp_path, 2) == "card: README.md"


def test_the_front_matter_is_that_of_the_card_before(tmp_path: Path) -> None:
    found: list[FrontMatter] = []
    (tmp_path / "README.md").write_text(HAND)
    write_card(tmp_path, lambda before: found.append(before) or text())  # type: ignore[func-returns-value]
    assert found == [{"language": ["language: en"], "tags": ["tags:", "  - faces"]}]
    assert front_matter_of("---\n# about\na: |\n  b: c\n\n  d\ne: f\n---\ng: h\n---\n") == {
        "": ["# about"], "a": ["a: |", "  b: c", "", "  d"], "e": ["e: f"]
    }  # fmt: skip
    for none in ("", "# title\n---\na: b\n---\n", "---\na: b\n", "text\n"):
        assert front_matter_of(none) == {}


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    with pytest.raises(OSError, match="directory"):
        written(tmp_path, 1)
