"""Who may ask for what: keys, scopes, and each caller's allowance, in front of an ASGI application. Only health is open.

A path belongs to the scope of its first word. A word that is not in the table is closed, whether a route begins with it or
not: without a key as any other, and with one it is not found. Knows nothing of what lies behind it.
"""

import binascii
from collections import Counter
from collections.abc import Iterator, Mapping

from service.asgi import ASGIApp, Headers, Receive, Scope, Send
from service.http.access.allowance import Allowance, ConcurrencyExceeded, RateExceeded
from service.http.access.keys import Keyring, Limits, MissingScope, NothingHere, Unauthorized
from service.http.access.refusal_pace import Refusals
from service.rest.errors import refuse

# what any key opens, whatever its scopes
ANY = "any key"
# by the first word of the path
ROUTES: Mapping[str, str] = {
    **dict.fromkeys(("encode", "decode", "sample", "interpolate", "reconstruct"), "infer"),
    "collections": "store",
    "admin": "admin",
    **dict.fromkeys(("", "docs", "openapi.json", "static-offline-docs", "models", "info", "metrics", "health"), ANY),
}
# of a path that is not in the table
CLOSED = "closed"
OPEN = frozenset(("/health/live", "/health/ready"))
METRICS = "/metrics"
REASONS: Mapping[type[Exception], str] = {
    Unauthorized: "key",
    MissingScope: "scope",
    NothingHere: "scope",
    RateExceeded: "rate",
    ConcurrencyExceeded: "concurrency",
}


class Access:
    """What the doors of a service share: the keys, the allowances, and the counts of refusals."""

    def __init__(self, keyring: Keyring, limits: Limits, workers: int, open_metrics: bool, refused: Counter[str]) -> None:
        """`limits` of callers whose keys have none of their own. `refused` counts by REASONS."""
        self.keyring, self.refused, self.refusals = keyring, refused, Refusals()
        self._open = OPEN | {METRICS} if open_metrics else OPEN
        shares = {name: own.divided(workers) for name, own in keyring.limits(limits).items()}
        self.allowances = {name: Allowance(name, share.rate, share.burst, share.concurrency) for name, share in shares.items()}

    def scope_of(self, path: str) -> str:
        """The scope that a path needs; "" for none, ANY for a key whatever its scopes, CLOSED for none that there is."""
        return "" if path in self._open else ROUTES.get(path[1:].partition("/")[0], CLOSED)

    def enter(self, path: str, scope: str, headers: Headers) -> Allowance:
        """Begin a request; its end is the allowance's `leave`. Raises those of REASONS."""
        key = self.keyring.find(presented(headers))
        if scope == CLOSED:
            raise NothingHere(path)
        if scope != ANY and scope not in key.scopes:
            raise MissingScope(key.name, scope)
        allowance = self.allowances[key.name]
        allowance.enter()
        return allowance


class Guard:
    """Lets through what the access allows, and answers the rest."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks another protocol
            await send({"type": "websocket.close", "code": 1008})
            return
        access = self._access
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        needed = access.scope_of(path)
        if not needed:
            await self._app(scope, receive, send)
            return
        try:
            allowance = access.enter(path, needed, scope["headers"])
        except tuple(REASONS) as error:
            access.refused[REASONS[type(error)]] += 1
            await access.refusals.turn()  # a flood of them leaves time for those who are let in
            await refuse(scope, send, error)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            allowance.leave()


def presented(headers: Headers) -> Iterator[bytes]:
    """What is said to be a key in the headers of a request: of each way the first, so that nobody tries many at once."""
    ways = set()
    for name, value in headers:
        if name in (b"authorization", b"x-api-key") and name not in ways:
            ways.add(name)
            yield value.strip() if name == b"x-api-key" else _credentials(value)


def _credentials(value: bytes) -> bytes:
    """The token of Bearer, or the password of Basic; empty for anything else."""
    words = value.split(maxsplit=1)  # the grammar has a space between them; some clients send tabs
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
