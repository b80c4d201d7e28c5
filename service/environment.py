"""Variables of the environment that are not settings: of Kubernetes, platforms, OpenTelemetry and numpy, and an internal one.

Knows nothing of what they are used for. `service.settings` reads the VAE_* variables.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from pydantic_settings import EnvSettingsSource

PREFIX = "VAE_"
# Kubernetes sets such variables in every pod, for each service of the namespace. Those of the services "vae" and "vae-..."
# begin with VAE_.
OF_KUBERNETES = re.compile(
    r"VAE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII | re.IGNORECASE
)
# Platforms that run web services (Cloud Run, Heroku) choose the port and say so in this variable.
PLATFORM_PORT = "PORT"
# An internal variable, hence without the prefix VAE_: it tells the workers where they share their metrics.
METRICS_DIRECTORY = "_VAE_METRICS_DIRECTORY"


class SettingsError(Exception):
    """A setting does not exist, or has a value that cannot be used."""


class Environment(EnvSettingsSource):
    """The variables without those of Kubernetes."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in super()._load_env_vars().items() if not _is_of_kubernetes(name, value or "")}


def platform_port(environment: Mapping[str, str] = os.environ) -> str:
    """Return the port that the platform has chosen, as it is written, or an empty string."""
    value = environment.get(PLATFORM_PORT, "")
    return "" if _is_of_kubernetes(PLATFORM_PORT, value) else value.strip()


def of_kubernetes(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of the variables that Kubernetes has set for services whose names begin with vae; also PORT."""
    return sorted(name for name, value in environment.items() if _is_of_kubernetes(name, value))


def _is_of_kubernetes(name: str, value: str) -> bool:
    is_port = name == PLATFORM_PORT or (name.upper().startswith(PREFIX) and name.upper().endswith("_PORT"))
    return (is_port and "://" in value) or OF_KUBERNETES.fullmatch(name) is not None


def trace_exporter(environment: Mapping[str, str] = os.environ) -> str:
    """Return where OpenTelemetry's variables send traces: otlp, console, or an empty string for nowhere.

    Unlike in the standard, the default is nowhere: otlp is used only if it is chosen or an endpoint is set. Raise
    SettingsError for an unknown exporter.
    """
    found = {name.upper(): value.strip() for name, value in environment.items() if name.upper().startswith("OTEL_")}
    chosen = found.get("OTEL_TRACES_EXPORTER", "").lower()
    if found.get("OTEL_SDK_DISABLED", "").lower() == "true" or chosen == "none":
        return ""
    if chosen not in ("", "otlp", "console"):
        raise SettingsError(f"OTEL_TRACES_EXPORTER must be otlp, console or none, not {chosen!r}")
    endpoints = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    return chosen or ("otlp" if any(found.get(name) for name in endpoints) else "")


def calm_blas(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make numpy compute each matrix product on one thread. Call this before numpy is imported.

    Scans of the latent store divide their work among threads of their own, which wait for each other once per scan and not
    once per product. torch and ONNX Runtime have other threads.
    """
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")


def share_metrics(directory: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell child processes that start later in which directory they share their metrics."""
    environment[METRICS_DIRECTORY] = str(directory)


def metrics_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which this worker, one of several, shares its metrics."""
    return Path(environment[METRICS_DIRECTORY])
