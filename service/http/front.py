"""The middleware that every request passes once, in this order:

    WithoutRootPath   removes the path under which a proxy shows the service, if one is set
    Observer          counts, logs and traces the request
    HostCheck         requires exactly one Host header with an allowed name
    Cors              answers preflight requests and adds CORS headers
    Guard             checks the API key, its scopes and rate limits
    CrossSite         refuses changes by pages of other sites
    Shortcut          calls an endpoint directly, or else goes on to
    RequestId         and the router

It knows nothing about the endpoints.
"""

from collections.abc import Sequence

from service.asgi import ASGIApp
from service.http.access.guard import Access, Guard
from service.http.cors import Cors
from service.http.cross_site import CrossSite
from service.http.host_check import HostCheck
from service.http.observer import Observer
from service.http.registry import Registry
from service.http.request_id import RequestId
from service.http.root_path import WithoutRootPath, WithRootPath
from service.http.shortcut import Shortcut
from service.observe.request_record import RecordSinks


def in_front_of(
    router: ASGIApp,
    application: object,
    registry: Registry,
    sinks: RecordSinks,
    access: Access | None = None,
    allowed_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    root_path: str = "",
) -> ASGIApp:
    """Wrap a router in the middleware. Endpoints get `application` as `scope["app"]`. `access` is None without keys."""
    if root_path:
        router = WithRootPath(router, root_path)
    stack: ASGIApp = CrossSite(Shortcut(RequestId(router), application, registry.endpoints), cors_origins)
    if access is not None:
        stack = Guard(stack, access)
    if cors_origins:
        stack = Cors(stack, cors_origins)
    stack = Observer(HostCheck(stack, allowed_hosts, has_keys=access is not None), sinks, registry)
    return WithoutRootPath(stack, root_path) if root_path else stack
