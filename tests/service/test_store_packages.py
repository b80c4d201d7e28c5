"""python -m service.store with a package that is missing or does not fit into the memory: one line says so."""

from pathlib import Path

import pytest

from tests.service.test_store_load import load, write_pictures


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"), "this needs the package pyarrow: pip install"),
        (ImportError("libarrow.so: failed to map segment", name="pyarrow.lib"), "pyarrow.lib cannot be loaded: libarrow.so:"),
        (MemoryError(), "the memory is full: free some, or allow more if it is limited (ulimit -v)"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_a_line(
    setting: Path, error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("service.load_command.work_of", broken)
    assert load(write_pictures(setting / "pictures", 1)) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert reason in said
