"""Finds the model and the deadline of a request. Knows nothing of tensors."""

from models.spatial_latents import SpatialLatents
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.http.call import MILLISECONDS, Call
from service.inference.inference import Inference
from service.observe.printable import short
from service.operations.service import Service
from service.operations.shaped import spatial_of

LONGEST_MILLISECONDS = 10**9 - 1


def opened(service: Service, call: Call, query: ClientQuery) -> tuple[Inference, SpatialLatents]:
    """Return the model that the path names, with the deadline of the call, and how the model's latents are made up.

    Raises UnknownModel, NoLatentShape, UnusableQuery.
    """
    milliseconds, header = query.whole("timeout_ms", most=LONGEST_MILLISECONDS), call.headers.get("x-timeout-ms")
    if milliseconds is None and header is not None:
        if not MILLISECONDS.fullmatch(header):
            raise UnusableQuery(f"X-Timeout-Ms must be a positive whole number, not {short(header)}")
        milliseconds = int(header)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    call.limit(deadline)
    model = service.pipeline.catalog.get(call.path["model"])
    return Inference(model, deadline, call.timings), spatial_of(model)
