"""Addresses of PostgreSQL are checked before anything is served, and no message quotes a password."""

import os
import subprocess
import sys

import pytest

from service.environment import SettingsError
from service.settings import Settings
from service.store.postgres.check_address import WrongAddress, check_address
from service.store_addresses import check_store_addresses, shown_address


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://",
        "postgres:///vae",
        "postgresql://u:p@h/vae?sslmode=require&connect_timeout=3&application_name=a%20b",
        "postgresql://u:p%40%2F%25@a:5432,[::1]:5433,c/vae?target_session_attrs=read-write&load_balance_hosts=random",
        "postgresql://u:a?b#c@h/vae",
        "postgresql://u@/vae?host=/run/a,/run/b&port=5432",
    ],
)
def test_an_address_that_may_be_right(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://u:S3CRET@/vae?hast=x", "there is no parameter 'hast'; did you mean 'host'"),
        ("postgresql://u:S3CRET@h/vae?host", "it cannot be read"),
        ("postgresql://u:S3CRET@h/vae?S3CRET=1", "no parameter of PostgreSQL"),
        ("postgresql://u:a%S3CRET@h/vae", "it cannot be read; in a user name or a password, write"),
        ("postgresql://u:S3CRET/a@h/vae", "no number from 1 to 65535; in a user name or a password, write"),
        ("postgresql://u:S3CRET@[::1/vae", "it cannot be read"),
        ("postgresql://u:S3CRET@a:5432,b:65536/vae", "no number from 1 to 65535"),
        ("postgresql://u:S3CRET@h/vae?target_session_attrs=readwrite", "target_session_attrs must be one of any, read-write"),
    ],
)
def test_an_address_that_cannot_be_right(address: str, reason: str) -> None:
    with pytest.raises(WrongAddress, match=reason) as caught:
        check_address(address)
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_message_names_the_setting() -> None:
    right, wrong = "postgresql://u:S3CRET@h/vae", "postgresql://u:S3CRET@h/vae?hast=x"
    check_store_addresses(Settings(store=right, store_reads=right))
    check_store_addresses(Settings(store="latents.db?hast=x"))
    for name, settings in (
        ("VAE_STORE", Settings(store=wrong)),
        ("VAE_STORE_READS", Settings(store=right, store_reads=wrong)),
    ):
        with pytest.raises(SettingsError, match=f"^{name} has no valid .*: there is no parameter 'hast'") as caught:
            check_store_addresses(settings)
        assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "status"), [(["service"], 2), (["service.store", "index", "--collection", "any"], 1)], ids=["service", "store"]
)
def test_the_programs_end_with_one_line(command: list[str], status: int) -> None:
    variables = {**os.environ, "VAE_STORE": "postgresql://u:S3CRET@/vae?hast=x"}
    ended = subprocess.run([sys.executable, "-m", *command], env=variables, capture_output=True, text=True)
    assert ended.returncode == status
    assert ended.stderr == (
        "error: VAE_STORE has no valid address of PostgreSQL: there is no parameter 'hast'; did you mean 'host'?\n"
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://user:secret@host:5433/vae?sslmode=require", "postgresql://host:5433/vae"),
        ("postgres://user:se?cr@et@host/vae", "postgresql://host/vae"),
        ("postgresql://a:1,b:2/vae?password=secret", "postgresql://a:1,b:2/vae"),
        ("postgresql:///vae?host=/tmp/pg&user=me&password=secret", "postgresql:///vae?host=/tmp/pg"),
        ("postgresql://%2Ftmp%2Fpg:5433/vae", "postgresql:///vae?host=/tmp/pg&port=5433"),
        ("postgresql://", "postgresql:///"),
    ],
)
def test_what_is_shown_of_an_address_says_which_server_and_no_password(address: str, shown: str) -> None:
    assert shown_address(address) == shown
