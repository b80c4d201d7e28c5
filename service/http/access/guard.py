"""Access control in front of an ASGI application: API keys, scopes and rate limits.

Paths that are not registered are closed: without a key they get 401 like all others, and with a key they get 404. This module
knows nothing about the application behind it.
"""

import binascii
from collections import Counter
from collections.abc import Iterator, Mapping

from service.asgi import ASGIApp, Headers, Receive, Scope, Send
from service.http.access.allowance import Allowance, ConcurrencyExceeded, RateExceeded
from service.http.access.keys import CallerLimits, Keyring, MissingScope, Unauthorized
from service.http.access.refusal_pace import RefusalPace
from service.http.nothing_here import NothingHere
from service.http.problems import HttpError, refuse
from service.http.registry import ANY_KEY, CLOSED, OPEN, Registry

METRICS = "/metrics"
REASONS: Mapping[type[HttpError], str] = {
    Unauthorized: "key",
    MissingScope: "scope",
    NothingHere: "scope",
    RateExceeded: "rate",
    ConcurrencyExceeded: "concurrency",
}


class Access:
    """API keys, rate limits, and counts of refused requests."""

    def __init__(
        self,
        keyring: Keyring,
        limits: CallerLimits,
        workers: int,
        open_metrics: bool,
        registry: Registry,
        refused: Counter[str],
        pace: RefusalPace,
    ) -> None:
        """`limits` apply to callers whose keys state no limits. `refused` counts refusals by the words of REASONS."""
        self.keyring, self.refused, self.pace, self._registry = keyring, refused, pace, registry
        self._open_metrics = open_metrics
        shares = {name: own.divided(workers) for name, own in keyring.limits(limits).items()}
        self.allowances = {name: Allowance(name, share.rate, share.burst, share.concurrency) for name, share in shares.items()}

    def scope_of(self, path: str) -> str:
        """Return the scope that a path needs: OPEN if no key is needed, ANY_KEY if any key is enough, CLOSED if no key is."""
        return OPEN if self._open_metrics and path == METRICS else self._registry.scope_of(path)

    def allowance_of(self, path: str, scope: str, headers: Headers) -> Allowance:
        """Return the allowance of the caller; each of its requests enters and leaves it. Raises the errors of REASONS."""
        key = self.keyring.find(presented_keys(headers))
        if scope == CLOSED:
            raise NothingHere(path)
        if scope != ANY_KEY and scope not in key.scopes:
            raise MissingScope(key.name, scope)
        return self.allowances[key.name]

    def need(self, headers: Headers, scope: str) -> None:
        """Check one more scope of a caller with a valid key, because of what its request asks for. Raises MissingScope."""
        key = self.keyring.find(presented_keys(headers))
        if scope not in key.scopes:
            self.refused[REASONS[MissingScope]] += 1
            raise MissingScope(key.name, scope, "request")


class Guard:
    """Passes on the requests that Access allows, and answers all others with an error."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # There are no WebSocket endpoints.
            await send({"type": "websocket.close", "code": 1008})
            return
        access = self._access
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        needed = access.scope_of(path)
        if not needed:
            await self._app(scope, receive, send)
            return
        try:
            allowance = access.allowance_of(path, needed, scope["headers"])
            allowance.enter()
        except tuple(REASONS) as error:
            access.refused[REASONS[type(error)]] += 1
            await access.pace.turn()  # A flood of refusals must leave time for callers with valid keys.
            await refuse(scope, send, error)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            allowance.leave()


def presented_keys(headers: Headers) -> Iterator[bytes]:
    """Yield the keys in the headers of a request: only the first of each header, so that nobody can try many at once."""
    seen = set()
    for name, value in headers:
        if name in (b"authorization", b"x-api-key") and name not in seen:
            seen.add(name)
            yield value.strip() if name == b"x-api-key" else _credentials(value)


def _credentials(value: bytes) -> bytes:
    """Return the token of Bearer, or the password of Basic; empty for any other scheme."""
    words = value.split(maxsplit=1)  # The grammar requires a space between them, but some clients send tabs.
    if len(words) < 2:
        return b""
    kind, token = words[0], words[1].rstrip()
    if kind.lower() == b"bearer":
        return token
    if kind.lower() == b"basic":
        try:
            return binascii.a2b_base64(token, strict_mode=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
