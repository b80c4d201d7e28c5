"""The requests about the service itself, as values: its models, its limits, and whether it is ready."""

from typing import Any

from vae_client.calls import Call, Options, json_call
from vae_client.results import Model


def models() -> Call[list[Model]]:
    """All loaded models."""
    return json_call("GET", "/models", lambda answer: [_model_of(one) for one in answer["models"]], Options())


def _model_of(fields: dict[str, Any]) -> Model:
    return Model(
        fields["name"],
        fields["digest"],
        fields["latent_dim"],
        tuple(fields["shape"]),
        fields.get("default", False),
        tuple(fields.get("priors", ())),
        fields,
        tuple(fields.get("labels", ())),
    )


def info() -> Call[dict[str, Any]]:
    """Limits, versions and counts of the service."""
    return json_call("GET", "/info", dict, Options())


def ready() -> Call[bool]:
    """Whether the service takes requests."""
    return json_call("GET", "/health/ready", lambda answer: answer["status"] == "ready", Options())
