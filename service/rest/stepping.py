"""How sequences are made, by the parameters of a request: the temperature and the noise of their steps, and their length."""

from service.inference.served_model import ServedModel
from service.inference.stepping import GREEDY, Stepping
from service.latents import noise as seeds
from service.rest.complete_schemas import CompleteParameters
from service.rest.kinds import wire_of
from service.rest.parameters import BadParameter
from service.rest.schemas import DecodeParameters, InterpolateParameters, Parameters, SampleParameters

# The temperature of steps of /sample and /complete, unless one is stated.
SAMPLED = 0.7
ONLY_SEQUENCES = frozenset(("temperature", "max_length"))  # but for /sample, where temperature means latents


def stepping_of(model: ServedModel, parameters: Parameters) -> Stepping:
    """Return how the sequences of a request are made. The seed is drawn if there is none. Raises BadParameter."""
    if not isinstance(parameters, (CompleteParameters, DecodeParameters, InterpolateParameters)):
        return GREEDY
    if not model.kind.steps:
        stated = parameters.model_fields_set
        if stated.isdisjoint(ONLY_SEQUENCES) and ("seed" not in stated or isinstance(parameters, DecodeParameters)):
            return GREEDY  # as nearly always
        refused = ("max_length",) if isinstance(parameters, SampleParameters) else ("max_length", "temperature")
        for name in refused:
            if getattr(parameters, name) is not None:
                raise BadParameter(
                    f"{name} is for drawings and texts, but {model.name!r} is a model of {wire_of(model).things}"
                )
        if isinstance(parameters, InterpolateParameters) and parameters.seed is not None:
            raise BadParameter(
                f"seed is for drawings and texts with a temperature, but {model.name!r} is a model of "
                f"{wire_of(model).things}: leave it out"
            )
        return GREEDY
    if isinstance(parameters, DecodeParameters) and parameters.pixels == "sample":
        raise BadParameter(f"pixels is for pictures and tables, but {model.name!r} is a model of {wire_of(model).things}: use "
                           "temperature=1")  # fmt: skip
    longest = model.manifest.model.shape[0]
    if parameters.max_length is not None and parameters.max_length > longest:
        raise BadParameter(f"max_length is {parameters.max_length}, but {model.name!r} makes at most {longest} steps")
    usual = SAMPLED if isinstance(parameters, (CompleteParameters, SampleParameters)) else 0.0
    temperature = usual if parameters.temperature is None else parameters.temperature
    seed = parameters.seed
    if seed is None and (temperature or isinstance(parameters, CompleteParameters)):
        seed = seeds.draw_seed()
    return Stepping(temperature, seed or 0, parameters.max_length)
