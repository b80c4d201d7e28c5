"""HEAD wherever GET is: the same answer without its body. Pure ASGI; knows nothing of what is asked for."""

from service.asgi import ASGIApp, Message, Receive, Scope, Send


class HeadMethod:
    """Has a HEAD answered as the GET that it stands for, and keeps the body back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)
