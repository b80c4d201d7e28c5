"""/decode and /sample: latents in, or drawn from the prior; pictures out."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.http.call import Answer, Call
from service.operations import generate as operations
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.body_schemas import Latents
from service.rest.decoding import decoded
from service.rest.direct_decode import direct_decode
from service.rest.etags import cache_headers, not_modified
from service.rest.kinds import check_drawn, cost_of, format_of, wire_of
from service.rest.parameters import BadParameter, check_count, read_parameters
from service.rest.registration import BINARY, PICTURE_ANSWERS, Router, add, describe_operation, json_content
from service.rest.requests import body_of, only_parameters, open_request
from service.rest.scaling import choose_scale
from service.rest.schemas import DecodeParameters, SampleParameters
from service.rest.shaped_latents import any_latents

router = Router(tags=["inference"])


async def decode(service: Service, call: Call) -> Answer:
    """Return the pictures of latents, in the order of the request: means of the likelihood, or draws (pixels=sample)."""
    body = await body_of(service, call)
    parameters = read_parameters(DecodeParameters, call.query, *body.parameters(DecodeParameters))
    accept = call.headers.get("accept", "")
    inference = open_request(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    model = inference.model
    z, inference.size = await service.pipeline.offload(len(call.body), partial(any_latents, body, model))
    check_drawn(model, len(z), form, parameters.view)
    scale = choose_scale(parameters, form, accept, len(z), inference.picture_shape)
    return await decoded(service, inference, z, form, parameters, scale)


async def sample(service: Service, call: Call) -> Answer:
    """Draw latents from a prior and return their pictures; the field `prior` and the header `X-Prior` say which prior.

    `prior=aggregate`, the default of a model that has it, draws from the fitted prior, a Gaussian mixture that was fitted to
    the posteriors of the training pictures: z = mean_k + temperature * L_k eps, with the component k chosen by one more number
    of the same (seed, item). `prior=vamp` draws in the same way from the posteriors of a VampPrior's pseudo-inputs, and
    `prior=standard` takes z = temperature * eps(seed, item), standard normal. A model without a fitted prior uses the one
    that it was trained with. `label=7` draws from the components of the fitted prior that were fitted to pictures with this
    label; `labels` in `/models` lists the labels. A conditional model is told the label instead, and without one it draws
    labels with the frequencies of its training by the same seed; the field `labels` has that of each picture.
    """
    body = only_parameters(await body_of(service, call))
    given = body.parameters(SampleParameters)
    parameters = read_parameters(SampleParameters, call.query, *given)
    accept = call.headers.get("accept", "")
    inference = open_request(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    model = inference.model
    # Before the noise is drawn:
    check_count("n", parameters.n, given, service.pipeline.max_items, wire_of(model).things)
    check_drawn(model, parameters.n, form, parameters.view)
    scale = choose_scale(parameters, form, accept, parameters.n, model.shape)
    priors = service.pipeline.catalog.priors[model.name]
    label = None
    if model.condition is None:  # The fitted prior may know labels.
        inference.label, label = None, None if parameters.label is None else only_label(parameters.label)
    prior, _ = priors.choose(parameters.prior, label)
    cached: Mapping[str, str] = {}
    if call.method == "GET":
        versions = service.pipeline.version, model.label, prior, priors.digests.get(prior, "")
        drawn_anew = parameters.seed is None
        cached = {"cache-control": "no-store"} if drawn_anew else cache_headers(parameters, form, scale, *versions)
        unchanged = not_modified(call, {"x-model": model.label, **cached})
        if unchanged is not None:
            return unchanged
    samples = await operations.sample(
        service.pipeline,
        inference,
        parameters.n,
        inference.stepping.seed if inference.stepping.temperature else parameters.seed,
        1.0 if model.kind.steps or parameters.temperature is None else parameters.temperature,
        prior,
        label,
        parameters.pixels,
    )
    fields: dict[str, Any] = {"seed": samples.seed, "prior": prior}
    if label is not None:
        fields["label"] = label
    if samples.labels is not None:
        fields["labels"] = samples.labels
    if "z" in parameters.include:
        fields["z"] = samples.z
    headers = {"x-seed": str(samples.seed), "x-prior": prior, **cached}
    render = partial(items_answer, samples.decoded, form, inference, parameters, fields, headers, scale)
    return await service.pipeline.offload(cost_of(inference, samples.decoded, form, parameters.view, scale), render)


def only_label(label: tuple[str, ...]) -> str:
    """Return the label of all samples, which a fitted prior draws. Raises BadParameter for several."""
    if len(label) > 1:
        raise BadParameter("label must be one label for all pictures; only a conditional model takes a list")
    return label[0]


LATENTS_EXAMPLE = {"z": [[0.5, -1.2] + [0.0] * 18]}

add(
    router,
    "/decode",
    ["POST"],
    decode,
    "Pictures of latents",
    describe_operation(
        DecodeParameters,
        PICTURE_ANSWERS,
        {**json_content(Latents, LATENTS_EXAMPLE), "application/x-npy": BINARY},
    ),
    scope="infer",
    label="decode",
    name="decode",
    hot=True,
    direct=direct_decode,
)
add(
    router,
    "/sample",
    ["GET", "POST"],
    sample,
    "Generate pictures: latents drawn from the prior, decoded",
    describe_operation(
        SampleParameters,
        PICTURE_ANSWERS,
        json_content(SampleParameters, {"n": 4, "seed": 7}),
        body_required=False,
    ),
    tagged=True,
    scope="infer",
    label="sample",
    name="sample",
    hot=True,
)
