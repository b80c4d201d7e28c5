"""The middleware that every request passes once, in this order:

    WithoutRootPath   removes the path under which a proxy shows the service, if one is set
    Observer          counts, logs and traces the request
    HostCheck         requires exactly one Host header with an allowed name
    Cors              answers preflight requests and adds CORS headers
    Guard             checks the API key, its scopes and rate limits
    CrossSite         refuses changes by pages of other sites
    Shortcut          calls an endpoint directly, or else goes on to
    RequestId         and the router

Plain requests take the hot path (`service.http.hot_path`), for which `Front.allows` asks the same layers in the same order.
It knows nothing about the endpoints.
"""

from collections.abc import Sequence
from typing import NamedTuple

from service.asgi import ASGIApp, Headers, Scope
from service.http.access.allowance import Allowance
from service.http.access.guard import REASONS, Access, Guard
from service.http.cors import Cors
from service.http.cross_site import CrossSite
from service.http.host_check import HostCheck
from service.http.observer import Observer
from service.http.registry import Registry
from service.http.request_id import RequestId
from service.http.root_path import WithoutRootPath, WithRootPath
from service.http.shortcut import Shortcut
from service.observe.request_record import RecordSinks


class Allowed(NamedTuple):
    """What the layers make of a request that all of them allow because of its head alone."""

    headers: Headers  # what they add to its answer
    allowance: Allowance | None


class Front:
    """A router in its middleware: `app`."""

    def __init__(
        self,
        router: ASGIApp,
        application: object,
        registry: Registry,
        sinks: RecordSinks,
        access: Access | None = None,
        allowed_hosts: Sequence[str] = (),
        cors_origins: Sequence[str] = (),
        root_path: str = "",
    ) -> None:
        """Wrap a router. Endpoints get `application` as `scope["app"]`. `access` is None without keys."""
        if root_path:
            router = WithRootPath(router, root_path)
        self._cross_site = CrossSite(
            Shortcut(RequestId(router), application, registry.endpoints, registry.endpoint_of), cors_origins
        )
        stack: ASGIApp = self._cross_site
        self._access = access
        if access is not None:
            stack = Guard(stack, access)
        self._cors = None
        if cors_origins:
            stack = self._cors = Cors(stack, cors_origins)
        self._host_check = HostCheck(stack, allowed_hosts, has_keys=access is not None)
        stack = Observer(self._host_check, sinks, registry)
        self._without_root_path = None
        if root_path:
            stack = self._without_root_path = WithoutRootPath(stack, root_path)
        self.app = stack

    def inner_path(self, path: str) -> str:
        """Return a path without the root path."""
        return path if self._without_root_path is None else self._without_root_path.inner(path)

    def allows(self, scope: Scope) -> Allowed | None:
        """Return what the layers make of a request without the header Origin. None: it has to go through them.

        Its body must not matter to them, nor how many requests its caller sends.
        """
        path = self.inner_path(scope["path"])
        scope = {**scope, "path": path}
        if self._host_check.fault(scope) is not None:
            return None
        headers = [] if self._cors is None else self._cors.without_origin
        allowance = None
        if self._access is not None and (needed := self._access.scope_of(path)):
            try:
                allowance = self._access.allowance_of(path, needed, scope["headers"])
            except tuple(REASONS):
                return None
            if allowance.is_limited:
                return None
        return None if self._cross_site.refuses(scope) else Allowed(headers, allowance)
