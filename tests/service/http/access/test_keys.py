"""Keys: the lines they are read from, what is said of bad ones, and which one is found."""

import hashlib
import logging
from pathlib import Path

import pytest

from service.http.access.keys import CallerLimits, Keyring, KeysError, Unauthorized, read_keys
from service.settings import Settings, SettingsError

SECRET = "a-secret-of-enough-characters"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()


def read(text: str) -> Keyring:
    return read_keys(text)


@pytest.mark.parametrize("key", [SECRET, f"sha256:{DIGEST}", f"sha256:{DIGEST.upper()}"])
def test_a_key_is_kept_as_its_digest(key: str) -> None:
    (found,) = read(f"app infer,store {key}").keys
    assert (found.name, sorted(found.scopes), found.digest.hex()) == ("app", ["infer", "store"], DIGEST)
    assert SECRET not in repr(found)
    assert DIGEST not in repr(found)


def test_lines_remarks_and_a_file() -> None:
    content = f"# our keys\n\n  app\tinfer {SECRET}1  # of the app\nscraper - {SECRET}2\n"
    ring = read_keys(f"b store {SECRET}3; c admin {SECRET}4;\n;", ("keys", content))
    assert [(key.name, sorted(key.scopes)) for key in ring.keys] == [
        ("app", ["infer"]), ("scraper", []), ("b", ["store"]), ("c", ["admin"]),
    ]  # fmt: skip


def test_no_keys() -> None:
    assert read("").keys == read(" ; # nothing\n").keys == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app infer", "VAE_API_KEYS, line 1: a line must be name scopes key"),
        (SECRET, "but this one has fewer than 3 words"),
        (f"a infer {SECRET}; {SECRET} app infer", "line 2: the scopes of"),
        (f"app {SECRET} infer", "the scopes of 'app' must be among infer, store, admin"),
        (f"app infer,stor {SECRET}", "scopes of 'app'"),
        (f"app , {SECRET}", "scopes of 'app'"),
        (f"a/b infer {SECRET}", "the name must be"),
        (f"app infer sha256:{DIGEST[1:]}", "followed by 64 hexadecimal digits"),
        (f"app infer sha256:{SECRET}", "followed by 64 hexadecimal digits"),
        (f"app infer x {SECRET}", "only rate=R, burst=B and concurrency=C may follow the key"),
        (f"app infer {SECRET} rate=-1", "rate must be a number"),
        (f"app infer {SECRET} rate=nan", "rate must be a number"),
        (f"app infer {SECRET} burst=1.5", "burst must be a whole number"),
        (f"app infer {SECRET} concurrency=", "concurrency must be a whole number"),
        (f"app infer {SECRET}; b store sha256:{DIGEST}", "the API keys of 'app' and 'b' are the same"),
    ],
)
def test_bad_lines_end_the_start_and_the_key_is_not_in_what_is_said(text: str, said: str) -> None:
    with pytest.raises(KeysError) as caught:
        read(text)
    assert said in str(caught.value)
    if not text.endswith("app infer"):  # there the key stands where the name should
        assert SECRET not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content, said in (("a", None, "No such file"), ("b", b"\xff\xfe", "not UTF-8"), ("c", b"# none", "no API keys")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises((KeysError, SettingsError), match=said):
            read_keys("", Settings(api_keys_file=tmp_path / name).read_api_keys_file())


def test_short_keys_are_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read("app infer fifteen-letters; b infer sixteen-letters-")
    (record,) = caplog.records
    assert "'app'" in record.getMessage()
    assert "fifteen" not in record.getMessage()


def test_the_key_that_is_presented_is_found() -> None:
    ring = read(f"a infer {SECRET}1; b store {SECRET}2")
    assert ring.find([f"{SECRET}2".encode(), f"{SECRET}1".encode()]).name == "b"
    assert ring.find([f"{SECRET}1".encode()]).name == "a"
    for candidates, words in (
        ([], "an API key is needed"),
        ([b""], "not valid"),
        ([b"wrong", f"{SECRET}2".encode()], "not valid"),
        ([f"{SECRET}2".encode(), b""], "not valid"),
        ([SECRET.encode(), DIGEST.encode()], "not valid"),
    ):
        with pytest.raises(Unauthorized, match=words):
            ring.find(candidates)


def test_all_digests_are_compared_with_one_that_matches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = read(f"a infer {SECRET}1; b infer {SECRET}2; c infer {SECRET}3")
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert ring.find([f"{SECRET}1".encode()]).name == "a"
    assert compared == [(32, 32)] * 3


def test_limits_of_a_line_win_over_those_of_all_and_belong_to_the_name() -> None:
    ring = read(f"a infer {SECRET}1 rate=2.5 burst=7; a infer {SECRET}2 concurrency=3; b infer {SECRET}3 rate=0")
    assert ring.limits(CallerLimits(10, 20, 30)) == {"a": CallerLimits(2.5, 7, 3), "b": CallerLimits(0, 20, 30)}


@pytest.mark.parametrize(
    ("whole", "workers", "share"),
    [
        (CallerLimits(10, 20, 30), 1, CallerLimits(10, 20, 30)),
        (CallerLimits(10, 20, 30), 4, CallerLimits(2.5, 5, 7)),
        (CallerLimits(1, 2, 3), 4, CallerLimits(0.25, 1, 1)),
        (CallerLimits(), 4, CallerLimits()),
    ],
)
def test_workers_share_the_limits(whole: CallerLimits, workers: int, share: CallerLimits) -> None:
    assert whole.divided(workers) == share
