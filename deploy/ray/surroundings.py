"""What Ray gives a replica: processors, a GPU or none, and machines beside its own. Knows nothing of requests."""

from typing import Any

import ray

from service.environment import SettingsError, trace_exporter
from service.http.access.keys import read_keys
from service.settings import Settings, refuse_unknown, require_packages
from service.store import POSTGRES
from service.store_addresses import check_store_addresses


def read_settings() -> Settings:
    """Return the settings from the environment of this process. Raise SettingsError or KeysError."""
    refuse_unknown()
    trace_exporter()
    settings = Settings()
    require_packages(settings)
    check_store_addresses(settings)
    read_keys(settings.api_keys.get_secret_value(), settings.read_api_keys_file())
    if settings.workers != 1:
        raise SettingsError(
            f"VAE_WORKERS is {settings.workers}, but a replica is one process; leave it out, and set num_replicas or "
            "autoscaling_config of the deployment"
        )
    if settings.admin:
        raise SettingsError(
            "VAE_ADMIN is true, but /admin would change the models of one replica and not those of the others; leave it out, "
            "and deploy again to change models, or set models_per_replica to load them when they are asked for"
        )
    return settings


def fitted(settings: Settings) -> Settings:
    """Return the settings with the device and the threads that Ray has assigned to this replica. Raise SettingsError."""
    assigned: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
    found: dict[str, Any] = {}
    if not settings.threads:
        found["threads"] = max(1, int(assigned.get("CPU", 1)))
    has_gpu = assigned.get("GPU", 0) > 0
    if settings.device == "auto":
        found["device"] = "cuda" if has_gpu else "cpu"
    elif settings.device != "cpu" and not has_gpu:
        raise SettingsError(
            f"VAE_DEVICE is {settings.device}, but Ray has assigned no GPU to this replica; set num_gpus in the "
            "ray_actor_options of the deployment"
        )
    return settings.model_copy(update=found)


def check_store(store: str) -> None:
    """Raise SettingsError if the store is a file and the cluster has several machines."""
    if store.startswith(POSTGRES):
        return
    machines = sorted({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]})
    if len(machines) > 1:
        raise SettingsError(
            f"VAE_STORE is the file {store}, but the cluster has {len(machines)} machines ({', '.join(machines)}), and each "
            "would have its own collections; set VAE_STORE=postgresql://..., or store_per_machine=true if that is meant"
        )
