"""A replica of Ray Serve: the application, which Serve starts, checks, calls and shuts down.

Serve's proxy has its own HTTP server, so what `service.server` does for each connection is done here for each request, as far
as a replica can. Knows nothing of what is served.
"""

import logging.config
from typing import Any

from fastapi import FastAPI

from deploy.ray.models_on_demand import ModelsOnDemand
from deploy.ray.surroundings import check_store, fitted, read_settings
from service.app import create_app
from service.asgi import ASGIApp, Message, Receive, Scope, Send
from service.environment import trace_exporter
from service.http.problems import refuse
from service.observe.logs import log_config
from service.rest.routes.health import check_device
from service.server.errors import TooManyConnections
from service.server.forwarded_headers import ForwardedHeaders
from service.server.tuning import log_warnings

# `service.__main__` has its server add this header to all answers.
NOSNIFF = (b"x-content-type-options", b"nosniff")
REQUEST_ID = b"x-request-id"


class Replica:
    """The service in one process of Ray Serve. Serve calls its methods, and the application that it builds."""

    def __init__(self, models_per_replica: int, store: str, store_per_machine: bool) -> None:
        """Read the settings and prepare the process. Raise SettingsError or KeysError.

        `models_per_replica`: how many models are loaded when requests name them; 0: all are loaded at the start.
        `store` replaces the setting of that name. `store_per_machine`: whether it may be a file on each of several machines.
        """
        if not store_per_machine:
            check_store(store)
        settings = fitted(read_settings()).model_copy(update={"store": store})
        logging.config.dictConfig(log_config(settings.log_format, settings.log_level, settings.access_log))
        log_warnings()
        if models_per_replica:
            settings = ModelsOnDemand.without_them(settings)
        self._settings, self._models_per_replica = settings, models_per_replica
        self._app: FastAPI | None = None
        self._answer: ASGIApp | None = None
        self._requests = 0

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application that Serve starts, sends requests to, and shuts down with the replica."""
        app = create_app(self._settings, load_first=True, start_decoders=True, traces=trace_exporter())
        stack: Any = app.middleware_stack
        self._answer = ForwardedHeaders(stack, self._settings.trusted_proxies)
        if self._models_per_replica:
            state: Any = app.state
            models = ModelsOnDemand(state, self._models_per_replica, self._settings.root_path)
            self.load_model = models.load  # Serve looks for it here, and tells its proxies which models are loaded where.
            self._answer = models.before(self._answer)
        self._app = app

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send)

        return serve  # a function, because uvicorn, which starts it, takes a method for an application of ASGI 2

    async def check_health(self) -> None:
        """Raise what /health/live would answer with 503. Serve then replaces the replica."""
        if self._app is not None:
            check_device(self._app.state)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None  # noqa: S101  Serve calls this after it was built
        assert self._answer is not None  # noqa: S101
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # start and shutdown
            return
        # The path under which Serve shows the application is VAE_ROOT_PATH, as behind any proxy.
        scope = {**scope, "root_path": ""}
        own_id = next((value for name, value in scope["headers"] if name == REQUEST_ID), None)

        async def send_as_server(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Serve's proxy adds the id that it has put into the request, so ours would be a second one.
                headers = [one for one in message.get("headers", ()) if one != (REQUEST_ID, own_id)]
                message = {**message, "headers": [*headers, NOSNIFF]}
            await send(message)

        if self._requests >= self._settings.max_connections:
            await refuse(scope, send_as_server, TooManyConnections(self._settings.max_connections))
            return
        self._requests += 1
        try:
            await self._answer(scope, receive, send_as_server)
        finally:
            self._requests -= 1
