"""API keys: read from text, kept as digests, found again in constant time. Knows nothing of HTTP.

A line is a name, the scopes, the key, and perhaps limits of its own; what follows a # is a remark:

    app       infer,store   hJ5...                      rate=50 burst=100 concurrency=8
    operator  infer,admin   sha256:5e884898da28047151...
    scraper   -             9cX...                      # reads /metrics and the documentation, no more

Two lines of one name are two keys of one caller, who has one allowance: that is how a key is replaced by another.
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.http.problems import HttpError

log = logging.getLogger(__name__)

SCOPES = ("infer", "store", "admin")
NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}")
DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
# what can be guessed over a network is shorter
SHORT_KEY = 16
LINE = "name scopes key [rate=R] [burst=B] [concurrency=C]"


class KeysError(Exception):
    """Keys that cannot be read; says where, never what a key is."""


class Unauthorized(HttpError):
    """No key, or none that is known."""

    status, code = 401, "unauthorized"

    def __init__(self, presented: bool) -> None:
        super().__init__(
            "the key is not known here"
            if presented
            else "a key is needed: Authorization: Bearer KEY, X-API-Key: KEY, or the key as password of HTTP Basic"
        )


class MissingScope(HttpError):
    """A key that does not open this."""

    status, code = 403, "missing_scope"

    def __init__(self, name: str, scope: str) -> None:
        super().__init__(f"the key of {name!r} has not the scope {scope!r}, which this needs")


class NothingHere(HttpError):
    """A path that no key opens."""

    status, code = 404, "not_found"

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {path}; /docs lists what there is")


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Of one caller; 0 is no limit. Of several lines with one name the last that says a limit has the word."""

    rate: float = 0.0  # requests a second
    burst: int = 0  # requests at once; 0: those of one second
    concurrency: int = 0  # requests at a time

    def divided(self, workers: int) -> "CallerLimits":
        """A worker's share: together they give at most the whole, but each at least one request at a time."""
        share = (value and max(1, value // workers) for value in (self.burst, self.concurrency))
        return CallerLimits(self.rate / workers, *share)


@dataclass(frozen=True, slots=True)
class Key:
    """Who it is, and what it opens. The key itself is not kept."""

    name: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)
    limits: dict[str, float] = field(default_factory=dict, hash=False)  # what its line says of them


class Keyring:
    """All keys."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = tuple(keys)

    def find(self, candidates: Iterable[bytes]) -> Key:
        """The key that is presented; each of several must be one. Takes as long whichever it is, or if none is.

        Raises Unauthorized.
        """
        holders = list[Key | None]()
        for candidate in candidates:
            holder, digest = None, hashlib.sha256(candidate).digest()
            for key in self.keys:
                if hmac.compare_digest(digest, key.digest):
                    holder = key
            holders.append(holder)
        known = [holder for holder in holders if holder is not None]
        if not known or len(known) < len(holders):
            raise Unauthorized(presented=bool(holders))
        return known[0]

    def limits(self, default: CallerLimits) -> dict[str, CallerLimits]:
        """Those of each caller, by name."""
        said: dict[str, dict[str, float]] = {}
        for key in self.keys:
            said.setdefault(key.name, {}).update(key.limits)
        return {
            name: CallerLimits(
                own.get("rate", default.rate),
                int(own.get("burst", default.burst)),
                int(own.get("concurrency", default.concurrency)),
            )
            for name, own in said.items()
        }


def read_keys(text: str, file: tuple[str, str] | None = None) -> Keyring:
    """The keys of a text, whose lines may also end with a semicolon, and those of a file: (its name, its content).

    Raises KeysError.
    """
    keys = []
    if file is not None:
        name, content = file
        keys += _parse(content.splitlines(), name)
        if not keys:  # somebody wanted keys: serving without any is not what was meant
            raise KeysError(f"{name} has no API keys")
    keys += _parse(re.split(r"[;\n]", text), "VAE_API_KEYS")
    first: dict[bytes, Key] = {}
    for key in keys:
        same = first.setdefault(key.digest, key)
        if same is not key:
            raise KeysError(f"the API keys of {same.name!r} and {key.name!r} are the same")
    return Keyring(keys)


def _parse(lines: Sequence[str], source: str) -> list[Key]:
    found = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            found.append(_key(words, f"{source}, line {number}"))
    return found


def _key(words: list[str], where: str) -> Key:
    if len(words) < 3:
        raise KeysError(f"{where}: {len(words)} words, a line is {LINE}")
    name, scopes, key, *options = words
    if not NAME.fullmatch(name):
        raise KeysError(f"{where}: the name may have up to 100 letters, digits and . _ @ -")
    opened = frozenset(scopes.split(",")) if scopes != "-" else frozenset()
    if not opened <= set(SCOPES):
        # the words may stand in another order: what is no scope may be the key
        raise KeysError(f"{where}: scopes of {name!r} are {', '.join(SCOPES)}, separated by commas, or - for none")
    hashed = DIGEST.fullmatch(key)
    if key.startswith("sha256:") and not hashed:
        raise KeysError(f"{where}: sha256: of {name!r} is followed by 64 hexadecimal digits")
    if not hashed and len(key) < SHORT_KEY:
        log.warning("%s: the API key of %r is short; openssl rand -hex 32 makes a good one", where, name)
    digest = bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(key.encode()).digest()
    return Key(name, opened, digest, dict(_option(option, f"{where}: {name!r}") for option in options))


def _option(word: str, where: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    if name not in ("rate", "burst", "concurrency"):
        raise KeysError(f"{where} has more words than {LINE}")
    whole = name != "rate"
    if not re.fullmatch(r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        raise KeysError(f"{where}: {name} must be {'a whole number' if whole else 'a number'}, 0 for no limit")
    return name, float(value)
