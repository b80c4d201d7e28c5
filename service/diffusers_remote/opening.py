"""Finds the model and the deadline of a request. Knows nothing of tensors."""

from service.diffusers_remote.query import Query, UnusableQuery
from service.http.call import MILLISECONDS, Call
from service.http.problems import HttpError
from service.inference.inference import Inference
from service.observe.printable import short
from service.operations.service import Service

LONGEST_MILLISECONDS = 10**9 - 1


class NoAutoencoder(HttpError):
    """The model's latents have no height and width."""

    status, code = 422, "unusable_model"


def opened(service: Service, call: Call, query: Query) -> Inference:
    """Return the model that the path names and the deadline of a call. Raises UnknownModel, NoAutoencoder, UnusableQuery."""
    milliseconds, header = query.whole("timeout_ms", most=LONGEST_MILLISECONDS), call.headers.get("x-timeout-ms")
    if milliseconds is None and header is not None:
        if not MILLISECONDS.fullmatch(header):
            raise UnusableQuery(f"X-Timeout-Ms must be a positive whole number, not {short(header)}")
        milliseconds = int(header)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    call.limit(deadline)
    return Inference(service.pipeline.catalog.get(call.path["model"]), deadline, call.timings)
