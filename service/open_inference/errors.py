"""Errors of this door, and how it answers those of the operations. Knows nothing of tensors."""

import orjson

from service.http.endpoint import Describe
from service.http.problems import HttpError, Problem

# What the REST API answers where the protocol has BAD_REQUEST: the content of tensors is at fault, not the type of the body.
OF_CONTENT, BAD_REQUEST = (415, 422), 400


class BadRequest(HttpError):
    """The request does not follow the protocol, or asks for something that the model does not have."""

    status, code = 400, "invalid_request"


class NoSuchModel(HttpError):
    """No model of this name is served, or not in this version."""

    status, code = 404, "unknown_model"


class AdminOff(HttpError):
    """Models cannot be changed while the service runs."""

    status, code = 403, "admin_off"
    detail = "models cannot be loaded and unloaded here; start the service with VAE_ADMIN=true to allow it"


def as_protocol(describe: Describe) -> Describe:
    """Return what describes errors as clients of the protocol expect them: 400 for whatever is wrong with a tensor."""

    def described(error: Exception, request_id: str, trace_id: str) -> Problem:
        found = describe(error, request_id, trace_id)
        if isinstance(error, HttpError) or found.status not in OF_CONTENT:
            return found
        body = orjson.loads(found.body) | {"status": BAD_REQUEST, "title": "Bad Request"}
        return found._replace(status=BAD_REQUEST, body=orjson.dumps(body))

    return described
