"""The front of the service: every request passes it once, in one order, whichever way it takes afterwards.

    Observer      counts, logs and traces
    HostCheck     one Host, by a name that is allowed
    Cors          which pages of other sites may read the answers; answers their preflights
    Guard         keys, scopes and rate limits
    CrossSite     pages of other sites change nothing
    Shortcut      leads to an endpoint without the router, or to
    RequestId     and the router

Knows nothing of what is asked for.
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
from service.http.shortcut import Shortcut
from service.observe.seen import Sight


def in_front_of(
    router: ASGIApp,
    application: object,
    registry: Registry,
    sight: Sight,
    access: Access | None = None,
    allowed_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
) -> ASGIApp:
    """Return the whole application. `application` is what endpoints find in the scope. Without `access` nobody needs a key."""
    stack: ASGIApp = CrossSite(Shortcut(RequestId(router), application, registry.endpoints), cors_origins)
    if access is not None:
        stack = Guard(stack, access)
    if cors_origins:
        stack = Cors(stack, cors_origins)
    return Observer(HostCheck(stack, allowed_hosts, has_keys=access is not None), sight, registry)
