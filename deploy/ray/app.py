"""The service as an application of Ray Serve: each replica is the whole service, with its models, its queue and its store.

    serve run deploy.ray.app:app
    serve run deploy.ray.app:app models_per_replica=3
    serve run deploy/ray/serve.yaml

The settings are the variables VAE_* of `python -m service`. Resources of a replica and the number of replicas are options of
Serve, as in serve.yaml.
"""

from pathlib import Path

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application, Deployment

from deploy.ray.replica import Replica
from deploy.ray.surroundings import read_settings
from service.environment import SettingsError
from service.settings import Settings
from service.store import POSTGRES

# Serve counts the requests of a replica, too. It must never be the one who refuses, so that callers get our answers.
SERVE_MARGIN = 2
# How often Serve asks each replica whether it works, and how long it waits for the answer, which does not depend on the queue.
# After three failures in a row it gives a replica up: one that stands still after 20 seconds at most.
HEALTH_SECONDS = 5.0
# How often a replica that shuts down looks whether its last requests are answered, and the time it has to close the store.
WAIT_SECONDS, CLOSING_SECONDS = 0.5, 5.0


class Arguments(BaseModel):
    """Arguments of the application: `args` in serve.yaml, NAME=VALUE on the command line of `serve run`."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    models_per_replica: int = Field(
        0,
        ge=0,
        description="models that a replica loads when requests name them; 0 loads all at the start",
    )
    store_per_machine: bool = Field(
        False, description="allow a sqlite file on several machines, each of which then has its own collections"
    )


def app(arguments: Arguments) -> Application:
    """Return the application. Raise SettingsError or KeysError for what would keep replicas from starting."""
    settings = read_settings()
    options = serve.deployment(
        name="vae",
        max_ongoing_requests=SERVE_MARGIN * settings.max_connections,
        graceful_shutdown_wait_loop_s=WAIT_SECONDS,
        graceful_shutdown_timeout_s=settings.drain_seconds + settings.shutdown_seconds + CLOSING_SECONDS,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": 1},
    )
    deployment: Deployment = options(serve.ingress()(Replica))
    return deployment.bind(arguments.models_per_replica, _store(settings), arguments.store_per_machine)


def _store(settings: Settings) -> str:
    """Return the address of the store, which must mean the same in every replica. Raise SettingsError."""
    if settings.store.startswith(POSTGRES) or Path(settings.store).is_absolute():
        return settings.store
    if ray.is_initialized():  # This runs in a process of the cluster, whose current directory nobody has chosen.
        raise SettingsError(
            f"VAE_STORE is {settings.store!r}, a relative path, which means another file in every directory; set it to an "
            "absolute path, or to postgresql://... if the cluster has several machines"
        )
    return str(Path(settings.store).absolute())
