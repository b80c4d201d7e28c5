"""The routes of a door that is plain ASGI, for the framework's router: they are looked at only for paths below their prefix.

Knows nothing about what the endpoints do.
"""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from service.http.registry import Registration

CHOSEN = "service.door_route"  # the key in a scope of the route that matches


class DoorRoutes(BaseRoute):
    """All routes of a door as one, so that requests to other doors do not pay for looking at each."""

    def __init__(self, prefix: str, registrations: Iterable[Registration]) -> None:
        """Take the registrations that have an endpoint. The paths of all begin with `prefix`."""
        self._prefix, self.registrations = prefix, list(registrations)
        self.routes = [
            Route(one.path, one.endpoint, methods=one.methods) for one in self.registrations if one.endpoint is not None
        ]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how a request matches, and what is added to its scope: as the framework wants it."""
        partial: tuple[Match, Scope] = Match.NONE, {}
        if scope["type"] == "http" and scope["path"].removeprefix(scope.get("root_path", "")).startswith(self._prefix):
            for route in self.routes:
                match, more = route.matches(scope)
                if match is Match.FULL:
                    return match, {**more, CHOSEN: route}
                if match is Match.PARTIAL and partial[0] is Match.NONE:
                    partial = match, {**more, CHOSEN: route}
        return partial

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches."""
        await scope[CHOSEN].handle(scope, receive, send)
