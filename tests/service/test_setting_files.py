"""The addresses of the store may come from files, which are checked and never shown."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.flags import explain
from service.settings import Settings

PRIMARY, REPLICA = "postgresql://vae:secret@primary/vae", "postgresql://vae:secret@replica/vae"


def test_a_file_has_the_address_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over the variable, which the image sets."""
    (tmp_path / "store").write_text(f"{PRIMARY}\n")
    (tmp_path / "reads").write_text(REPLICA)
    monkeypatch.setenv("VAE_STORE", "/data/latents.db")
    monkeypatch.setenv("VAE_STORE_FILE", str(tmp_path / "store"))
    assert (Settings().store, Settings().store_reads) == (PRIMARY, "")
    settings = Settings(_cli_parse_args=["--store-reads-file", str(tmp_path / "reads")])
    assert (settings.store, settings.store_reads) == (PRIMARY, REPLICA)
    assert Settings(store="other.db", store_file=None).store == "other.db"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "store_file: cannot read .*: No such file or directory"),
        (b"", "store_file: .* must have one line with the address and nothing else; it has 0 lines"),
        (b"postgresql://secret\npostgresql://secret\n", "it has 2 lines"),
        (b"\xff", "store_file: cannot read .*: not UTF-8"),
        (b"secret" * 10_000, "has more than the 8192 bytes allowed"),
    ],
)
def test_a_file_without_an_address_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "store").write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        Settings(store_file=tmp_path / "store")
    (reason,) = explain(caught.value)
    assert re.search(said, reason)
    assert "secret" not in reason


@pytest.mark.parametrize(("store", "reads"), [("latents.db", REPLICA), (PRIMARY, "replica.db")])
def test_only_postgresql_has_replicas(store: str, reads: str) -> None:
    with pytest.raises(ValidationError, match="store and store_reads must both begin with postgresql://"):
        Settings(store=store, store_reads=reads)
    assert Settings(store=PRIMARY, store_reads=REPLICA).store_reads == REPLICA
