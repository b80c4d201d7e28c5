"""All endpoints of this door with their scopes and metric labels. Access control, metrics and routing read them from here.

They are not on the OpenAPI page: the protocol has its own specification, and `GET /v2/models/{model}` describes each model.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from service.engine.errors import Overloaded
from service.http.call import Answer, Call
from service.http.endpoint import Describe, Endpoint
from service.http.registry import ANY_KEY, OPEN, Registration
from service.open_inference import metadata, names
from service.open_inference.answers import json_answer
from service.open_inference.counted import Counted
from service.open_inference.errors import as_protocol
from service.open_inference.health import Probe, check_live, check_serving
from service.open_inference.inference import infer
from service.open_inference.query import read_query
from service.open_inference.repository import Repository, index
from service.open_inference.statistics import Statistics
from service.operations.service import Service

MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"


def registrations(describe: Describe, version: str, admin: bool) -> list[Registration]:
    """Return the endpoints. `describe`: errors of operations -> problem bodies; `version`: that of the service."""
    described = as_protocol(describe)
    statistics, repository = Statistics(), Repository(admin)

    def endpoint(operation: Callable[[Service, Call], Awaitable[Answer]]) -> Endpoint:
        async def checked(service: Service, call: Call) -> Answer:
            read_query(call)
            return await operation(service, call)

        return Endpoint(checked, described, (Overloaded,))

    async def server(service: Service, call: Call) -> Answer:
        return json_answer(metadata.of_server(version))

    async def models(service: Service, call: Call) -> Answer:
        return json_answer({"models": [name for name, _, _ in names.all_names(service.pipeline.catalog)]})

    async def model(service: Service, call: Call) -> Answer:
        return json_answer(metadata.of_model(*names.find(service.pipeline.catalog, call.path)))

    async def config(service: Service, call: Call) -> Answer:
        catalog = service.pipeline.catalog
        return json_answer(metadata.config_of(catalog, *names.find(catalog, call.path)))

    async def ready(service: Service, call: Call) -> Answer:
        catalog, name = service.pipeline.catalog, call.path["model"]
        if name in catalog.models:  # all its operations
            names.check_version(name, call.path)
        else:
            names.find(catalog, call.path)
        return json_answer({"name": name, "ready": True})

    async def stats(service: Service, call: Call) -> Answer:
        found = names.find(service.pipeline.catalog, call.path)
        return json_answer({"model_stats": [statistics.json(*found)]})

    async def all_stats(service: Service, call: Call) -> Answer:
        every = names.all_names(service.pipeline.catalog)
        return json_answer({"model_stats": [statistics.json(*one) for one in every]})

    operation = Endpoint(partial(infer, statistics), described, (Overloaded,), takes_compressed=True)
    tensors = Counted(operation, statistics)
    found = [
        *(
            Registration(f"{path}/infer", ("POST",), "infer", "v2_infer", tensors, without_router=True)
            for path in (MODEL, VERSION)
        ),
        Registration("/v2", ("GET",), ANY_KEY, "v2_models", endpoint(server)),
        Registration("/v2/health/live", ("GET",), OPEN, "v2_health", Probe("live", check_live, described)),
        Registration("/v2/health/ready", ("GET",), OPEN, "v2_health", Probe("ready", check_serving, described)),
        Registration("/v2/models", ("GET",), ANY_KEY, "v2_models", endpoint(models)),
        Registration("/v2/models/stats", ("GET",), ANY_KEY, "v2_models", endpoint(all_stats)),
        Registration("/v2/repository/index", ("POST",), ANY_KEY, "v2_repository", endpoint(index)),
    ]
    for path in (MODEL, VERSION):
        found += [
            Registration(f"{path}/config", ("GET",), ANY_KEY, "v2_models", endpoint(config)),
            Registration(f"{path}/ready", ("GET",), ANY_KEY, "v2_models", endpoint(ready)),
            Registration(f"{path}/stats", ("GET",), ANY_KEY, "v2_models", endpoint(stats)),
            Registration(path, ("GET",), ANY_KEY, "v2_models", endpoint(model)),
        ]
    for change in (repository.load, repository.unload):
        path = f"/v2/repository/models/{{model}}/{change.__name__}"
        found.append(Registration(path, ("POST",), "admin", "v2_repository", endpoint(change)))
    return found
