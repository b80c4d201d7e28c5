"""Finds the model and the deadline of a request. Knows nothing of tensors."""

from models.spatial_latents import SpatialLatents
from service.diffusers_remote.query import ClientQuery, UnusableQuery
from service.http.call import Call, header_timeout
from service.inference.inference import Inference
from service.operations.service import Service
from service.operations.shaped import spatial_of

LONGEST_MILLISECONDS = 10**9 - 1


def opened(service: Service, call: Call, query: ClientQuery) -> tuple[Inference, SpatialLatents]:
    """Return the model that the path names, with the deadline of the call, and how the model's latents are made up.

    Raises UnknownModel, NoLatentShape, UnusableQuery.
    """
    milliseconds = query.whole("timeout_ms", most=LONGEST_MILLISECONDS)
    if milliseconds is None:
        milliseconds = header_timeout(call, UnusableQuery)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    call.limit(deadline)
    catalog = service.pipeline.catalog
    model = catalog.get(call.path["model"])
    return Inference(model, deadline, call.timings), spatial_of(model, catalog)
