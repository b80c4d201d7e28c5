"""Reads what all routes need of a request before they call an operation: its body, model, deadline and collection.

Knows nothing of what an operation does.
"""

from collections.abc import Awaitable
from functools import partial

from service.formats.errors import Unsupported
from service.http.call import Call, header_timeout
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.operations.collection_model import digest_of, loaded_name
from service.operations.service import Service
from service.rest.bodies import A_KIND, Body, read_body
from service.rest.kinds import wire_of
from service.rest.parameters import BadParameter, P, read_parameters
from service.rest.schemas import LabelParameters, Parameters, PictureParameters
from service.rest.stepping import stepping_of
from service.store.interface import Collection, UnknownCollection
from service.store.names import is_collection_name


def body_of(
    service: Service, call: Call, lists_per_item: int = 1, parts_per_item: int = 1, takes_text: bool = False
) -> Awaitable[Body]:
    """Return the body taken apart; a thread does that to a long one. Raises what `read_body` does."""
    pipeline = service.pipeline
    read = partial(read_body, call, pipeline.max_items, lists_per_item, parts_per_item, takes_text)
    return pipeline.offload(len(call.body), read)


def only_parameters(body: Body) -> Body:
    """Return a body of an operation that takes nothing but parameters. Raises Unsupported unless it is JSON or empty."""
    if body.kind not in ("empty", "json"):
        raise Unsupported(f"send the parameters in the query or as JSON, not as {A_KIND[body.kind]}")
    return body


def query_parameters(kind: type[P], call: Call) -> P:
    """Return the parameters of a request that takes no body. Raises Unsupported if it has one, BadParameter."""
    if call.body:
        raise Unsupported("this request takes no body; send its parameters in the query")
    return read_parameters(kind, call.query)


def open_request(service: Service, call: Call, parameters: Parameters) -> Inference:
    """Return the model and the deadline that a call asks for. Raises UnknownModel, BadParameter."""
    inference = open_any(service, call, parameters)
    suit(inference, parameters)
    return inference


def open_any(service: Service, call: Call, parameters: Parameters) -> Inference:
    """Return the model and the deadline that a call asks for, whose model may still change. Raises as `open_request`."""
    milliseconds = parameters.timeout_ms
    if milliseconds is None:
        milliseconds = header_timeout(call, BadParameter)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    call.limit(deadline)
    model = service.pipeline.catalog.get(parameters.model)
    if isinstance(parameters, PictureParameters):
        return Inference(model, deadline, call.timings, parameters.background, parameters.invert, label=parameters.label)
    if isinstance(parameters, LabelParameters):
        return Inference(model, deadline, call.timings, label=parameters.label)
    return Inference(model, deadline, call.timings)


def suit(inference: Inference, parameters: Parameters) -> None:
    """Check that parameters suit the kind of the model, and keep how its sequences are made. Raises BadParameter."""
    model = inference.model
    if model.is_pictures or not isinstance(parameters, PictureParameters):
        inference.stepping = stepping_of(model, parameters)
        return
    for name in ("background", "invert"):
        if getattr(parameters, name) is not None:
            raise BadParameter(f"{name} is for pictures, but {model.name!r} is a model of {wire_of(model).things}")
    inference.stepping = stepping_of(model, parameters)


async def open_collection(service: Service, call: Call, parameters: Parameters) -> tuple[Collection, str, Inference]:
    """Return (collection, digest of the model of the request's vectors, model and deadline).

    Raises StoreError, ModelMismatch, ModelNotLoaded.
    """
    inference = open_any(service, call, parameters.model_copy(update={"model": None}))
    collection = await service.store.collection(name_of(call), inference.deadline)
    model = model_in(service, collection)
    if model is not None:
        inference.model = model
        suit(inference, parameters)
    return collection, digest_of(service.pipeline.catalog, collection, parameters.model), inference


def model_in(service: Service, collection: Collection) -> ServedModel | None:
    """Return the model of a collection, or None if it is not loaded."""
    catalog = service.pipeline.catalog
    name = loaded_name(catalog, collection)
    return None if name is None else catalog.models[name]


async def open_stored(service: Service, call: Call, parameters: Parameters) -> tuple[str, Inference]:
    """Return (name of the collection, model and deadline) for a call that reads or changes what is stored, without vectors.

    A model that it states must be the collection's. Raises StoreError, ModelMismatch, UnknownModel.
    """
    if parameters.model is not None:
        collection, _, inference = await open_collection(service, call, parameters)
        return collection.name, inference
    return name_of(call), open_request(service, call, parameters)


def name_of(call: Call) -> str:
    """Return the collection's name in the path. Raises UnknownCollection for one that no collection can have."""
    name = call.path["name"]
    if not is_collection_name(name):
        raise UnknownCollection(name[:120])
    return name
