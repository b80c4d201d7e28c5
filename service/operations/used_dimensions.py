"""Which dimensions of a latent say most about pictures, by the KL that a model's metrics record. Knows nothing of HTTP."""

from service.inference.pipeline import Pipeline
from service.inference.served_model import ServedModel


def recorded_kl(pipeline: Pipeline, model: ServedModel) -> list[float] | None:
    """Return the mean KL of each dimension over the test pictures, in nats, from metrics.json; None if it is not there."""
    kl = pipeline.catalog.metrics.get(model.name, {}).get("kl_per_dim")
    is_usable = isinstance(kl, list) and len(kl) == model.latent_dim and all(type(nats) in (int, float) for nats in kl)
    return kl if is_usable else None


def most_used(kl: list[float] | None, dim: int, count: int) -> list[int]:
    """Return the `count` dimensions out of `dim` with the largest KL, largest first; the first ones if the KL is not known."""
    return list(range(dim))[:count] if kl is None else sorted(range(dim), key=lambda j: -kl[j])[:count]
