"""/complete: begun drawings or texts in, continuations of each out."""

from functools import partial
from typing import Any

from service.formats.json_values import json_bytes
from service.http.call import Answer, Call
from service.operations import complete as operations
from service.operations.service import Service
from service.rest.answers import answer, items_answer, warnings_of
from service.rest.body_schemas import CompletionsAnswer
from service.rest.complete_schemas import CompleteParameters
from service.rest.kinds import check_drawn, cost_of, format_of, items_in, wire_of
from service.rest.parameters import AskedTooMuch, read_parameters
from service.rest.registration import SEQUENCE_ANSWERS, SEQUENCE_BODIES, Router, add, describe_operation, json_content
from service.rest.requests import body_of, open_request
from service.rest.scaling import choose_scale

router = Router(tags=["inference"])


async def complete(service: Service, call: Call) -> Answer:
    """Continue begun drawings or texts: `n` continuations of each, which begin with what was sent.

    Each has a latent drawn from the posterior of the beginning; that and its steps depend on the seed alone, and on neither
    the other beginnings nor `n`. JSON has a list of n continuations for each beginning; other formats have all, one after
    the other.
    """
    body = await body_of(service, call, takes_text=True)
    parameters = read_parameters(CompleteParameters, call.query, *body.parameters(CompleteParameters))
    accept = call.headers.get("accept", "")
    inference = open_request(service, call, parameters)
    model = inference.model
    form = format_of(model, parameters.format, accept, view=parameters.view)
    items = await items_in(service.pipeline, body, inference)
    if len(items) * parameters.n > service.pipeline.max_items:
        most, asked = service.pipeline.max_items, f"{parameters.n} x {len(items)} {wire_of(model).things}"
        raise AskedTooMuch(
            f"n is {parameters.n}, so that {asked} are asked for: n for each beginning; at most {most} are allowed in one "
            f"request, so n can be at most {max(1, most // len(items))} here"
        )
    check_drawn(model, len(items) * parameters.n, form, parameters.view)
    scale = choose_scale(parameters, form, accept, len(items) * parameters.n, model.shape)
    made = await operations.complete(service.pipeline, inference, items, parameters.n)
    seed = {"seed": inference.stepping.seed}
    headers = {"x-seed": str(inference.stepping.seed)}

    def render() -> Answer:
        if form != "json":
            return items_answer(made, form, inference, parameters, headers=headers, scale=scale)
        wire = wire_of(model)
        flat, n = wire.json(model, made), parameters.n
        fields: dict[str, Any] = {wire.many: [flat[i : i + n] for i in range(0, len(flat), n)], **seed}
        return answer(json_bytes({"model": model.name, **fields, **warnings_of(inference)}), form, inference, headers)

    return await service.pipeline.offload(cost_of(inference, made, form, parameters.view, scale), partial(render))


add(
    router,
    "/complete",
    ["POST"],
    complete,
    "Continue begun drawings or texts",
    describe_operation(CompleteParameters, {**SEQUENCE_ANSWERS, **json_content(CompletionsAnswer)}, SEQUENCE_BODIES),
    scope="infer",
    label="complete",
    name="complete",
)
