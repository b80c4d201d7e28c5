"""Why a model could not be loaded, in one line without paths of the machine."""

from pathlib import Path

import pytest

from service.inference.failure_reason import MOST, reason_in_one_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("cannot load the model a: /m x/a/config.json: not JSON: what", "config.json: not JSON: what"),
        ("/m x/a: has weights, w.safetensors, but no config.json", "has weights, w.safetensors, but no config.json"),
        ("/m x/a: is a link to /mnt/my data/a, which leads nowhere; mend it", "is a link to a, which leads nowhere; mend it"),
        ("is a link to ../gone, which leads nowhere", "is a link to ../gone, which leads nowhere"),
        ("cannot open '/mnt/my data/x.bin', nor /etc/y.bin; copy it", "cannot open x.bin, nor y.bin; copy it"),
        ("mu is 3 / 4 of the rest and/or https://example.org/a/b", "mu is 3 / 4 of the rest and/or https://example.org/a/b"),
        ("first line\n  second line", "first line second line"),
    ],
)
def test_paths_are_left_out(message: str, line: str) -> None:
    assert reason_in_one_line(message, "a", Path("/m x")) == line


def test_a_relative_directory_is_taken_away_as_a_whole() -> None:
    assert reason_in_one_line("a/config.json: needs data/x and ../b", "a", Path()) == "config.json: needs data/x and ../b"
    assert reason_in_one_line("my/models/a/w: old", "a", Path("my/models")) == "w: old"


def test_the_target_of_a_link_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "far away").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").symlink_to(tmp_path / "far away")
    message = f"{tmp_path / 'far away' / 'config.json'}: not JSON"
    assert reason_in_one_line(message, "a", tmp_path / "models") == "config.json: not JSON"


def test_a_long_reason_is_cut() -> None:
    line = reason_in_one_line("x" * 10_000, "a", Path("/m"))
    assert len(line) == MOST
    assert line.endswith("x…")
