"""The endpoints of this door: their paths, scopes and labels. Knows nothing of what they do."""

from collections.abc import Callable

from service.diffusers_remote.decode import decode
from service.diffusers_remote.encode import encode
from service.engine.errors import Overloaded
from service.http.endpoint import Endpoint
from service.http.problems import Problem
from service.http.registry import Registration


def diffusers_endpoints(describe: Callable[[Exception, str, str], Problem]) -> list[Registration]:
    """Return the registrations of all endpoints.

    `describe`: (error, request id, trace id) -> the body of an error.
    """
    return [
        Registration(
            f"/diffusers/{{model}}/{operation.__name__}",
            ("POST",),
            "infer",
            f"diffusers_{operation.__name__}",
            Endpoint(operation, describe, (Overloaded,)),
        )
        for operation in (decode, encode)
    ]
