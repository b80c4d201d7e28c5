"""X-Request-Id on every answer: the client's own if it is a plain word, else a new one."""

import random
import re
import secrets

from service.asgi import ASGIApp, Message, Receive, Scope, Send

# Ids must be unique, not secret. Asking the system for random bytes each time would take 5 % of a small request's time.
_NUMBERS = random.Random(secrets.randbits(256))  # noqa: S311
PLAIN = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def request_id_of(scope: Scope) -> str:
    """Return the id of a request. The first call chooses it and stores it in the scope's state."""
    state: dict[str, str] = scope.setdefault("state", {})
    if "request_id" not in state:
        own = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                own = value
                break
        state["request_id"] = own.decode() if own and PLAIN.fullmatch(own) else new_request_id()
    return state["request_id"]


def new_request_id() -> str:
    """Return the id of a request that states none."""
    return f"{_NUMBERS.getrandbits(128):032x}"


class RequestId:
    """Adds the header to answers that lack it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope).encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if not any(name.lower() == b"x-request-id" for name, _ in headers):
                    headers.append((b"x-request-id", request_id))
            await send(message)

        await self._app(scope, receive, send_with_id)
