"""API keys: parsed from text, kept as digests, compared in constant time. Knows nothing about requests.

A line has a name, scopes, a key, and optionally rate limits; a # starts a comment:

    app       infer,store   hJ5...                      rate=50 burst=100 concurrency=8
    operator  infer,admin   sha256:5e884898da28047151...
    scraper   -             9cX...                      # may read /metrics and the documentation, nothing else

Two lines with the same name are two keys of one caller, who has one rate limit. This allows keys to be rotated.
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.http.problems import HttpError

log = logging.getLogger(__name__)

SCOPES = ("infer", "store", "admin")
NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}")
DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
# Characters. Shorter keys could be guessed over a network.
SHORT_KEY = 16
LINE = "name scopes key [rate=R] [burst=B] [concurrency=C]"


class KeysError(Exception):
    """The keys cannot be parsed. The message gives the line, but never a key."""


class Unauthorized(HttpError):
    """The request has no API key, or an invalid one."""

    status, code = 401, "unauthorized"

    def __init__(self, presented: bool) -> None:
        super().__init__(
            "the API key is not valid"
            if presented
            else "an API key is needed: send Authorization: Bearer KEY, X-API-Key: KEY, or the key as HTTP Basic password"
        )


class MissingScope(HttpError):
    """The key lacks the scope that the path, or the request, needs."""

    status, code = 403, "missing_scope"

    def __init__(self, name: str, scope: str, what: str = "path") -> None:
        super().__init__(f"the key of {name!r} lacks the scope {scope!r}, which this {what} needs")


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Rate limits of one caller. If several lines with one name state the same limit, the last one wins."""

    rate: float = 0.0  # requests per second; 0: no limit
    burst: int = 0  # requests that may come at once; 0: as many as the rate allows in one second
    concurrency: int = 0  # requests in flight; 0: no limit

    def divided(self, workers: int) -> "CallerLimits":
        """Return the limits of one of several workers: together at most the whole, but at least one request each."""
        share = (value and max(1, value // workers) for value in (self.burst, self.concurrency))
        return CallerLimits(self.rate / workers, *share)


@dataclass(frozen=True, slots=True)
class Key:
    """The owner of a key and its scopes. Only the digest of the key is kept."""

    name: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)
    limits: dict[str, Any] = field(default_factory=dict, hash=False)  # only those that its line states


class Keyring:
    """All API keys."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = tuple(keys)

    def find(self, candidates: Iterable[bytes]) -> Key:
        """Return the key that the first candidate matches. All candidates must be valid keys.

        The time taken does not depend on which key matches, or whether one does. Raises Unauthorized.
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
        """Return the limits of each caller, by name."""
        found: dict[str, CallerLimits] = {}
        for key in self.keys:
            found[key.name] = replace(found.get(key.name, default), **key.limits)
        return found


def read_keys(text: str, file: tuple[str, str] | None = None) -> Keyring:
    """Return the keys of a text, in which a semicolon may also end a line, and of a file.

    `file`: its name and its content. Raises KeysError.
    """
    keys = []
    if file is not None:
        name, content = file
        keys += _parse(content.splitlines(), name)
        if not keys:  # Whoever names a file wants keys, so do not serve without any.
            raise KeysError(f"{name} contains no API keys; each line must be {LINE}")
    keys += _parse(re.split(r"[;\n]", text), "VAE_API_KEYS")
    first: dict[bytes, Key] = {}
    for key in keys:
        same = first.setdefault(key.digest, key)
        if same is not key:
            raise KeysError(f"the API keys of {same.name!r} and {key.name!r} are the same; give each line a key of its own")
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
        raise KeysError(f"{where}: a line must be {LINE}, but this one has fewer than 3 words")
    name, scopes, key, *options = words
    if not NAME.fullmatch(name):
        raise KeysError(f"{where}: the name must be 1 to 100 letters, digits, or characters of . _ @ -")
    opened = frozenset(scopes.split(",")) if scopes != "-" else frozenset()
    if not opened <= set(SCOPES):
        # The words may be in the wrong order, so an unknown scope may be the key: do not repeat it.
        raise KeysError(f"{where}: the scopes of {name!r} must be among {', '.join(SCOPES)}, with commas between, or -")
    hashed = DIGEST.fullmatch(key)
    if key.startswith("sha256:") and not hashed:
        raise KeysError(f"{where}: in the key of {name!r}, sha256: must be followed by 64 hexadecimal digits")
    if not hashed and len(key) < SHORT_KEY:
        log.warning("%s: the API key of %r is too short to be safe; make one with: openssl rand -hex 32", where, name)
    digest = bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(key.encode()).digest()
    return Key(name, opened, digest, dict(_option(option, f"{where}: {name!r}") for option in options))


def _option(word: str, where: str) -> tuple[str, int | float]:
    name, _, value = word.partition("=")
    if name not in ("rate", "burst", "concurrency"):
        raise KeysError(f"{where}: only rate=R, burst=B and concurrency=C may follow the key")
    whole = name != "rate"
    if not re.fullmatch(r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        raise KeysError(f"{where}: {name} must be {'a whole number' if whole else 'a number such as 20 or 0.5'}")
    return name, int(value) if whole else float(value)
