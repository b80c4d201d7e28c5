"""Security headers of HTML pages: a content security policy, and no framing. Knows nothing about the pages.

The policy allows the inline scripts of a page by their digests, so that injected scripts do not run.
"""

import base64
import hashlib
import re

from service.asgi import ASGIApp, Message, Receive, Scope, Send

SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "font-src 'self' data:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self'"
)


class SecurityHeaders:
    """Adds security headers to text/html answers. These are buffered and sent as a whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        start: Message = {}
        chunks: list[bytes] = []

        async def send_page(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
                return
            if not start:
                await send(message)
                return
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(chunks)
                start["headers"] = [*start["headers"], *headers_of(body)]
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_page if scope["type"] == "http" else send)


def headers_of(page: bytes) -> list[tuple[bytes, bytes]]:
    """Return the security headers for a page."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in SCRIPT.findall(page)]
    policy = POLICY + "".join(f" 'sha256-{digest}'" for digest in digests)
    return [
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]


def _is_page(message: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in message["headers"])
