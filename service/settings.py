"""Settings of the service: the only place that reads the environment. Each is a variable (VAE_PORT) and a flag (--port).

Knows nothing of what the values are used for.
"""

import difflib
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.files.regular_file import read_regular

PREFIX = "VAE_"
# variables of `python -m models.train`, which may stand in the same environment
FOREIGN = {"VAE_DATA_DIR"}

# bytes of a file of keys: some ten thousand of them
MAX_KEYS_BYTES = 1 << 20
SHIPPED_WEIGHTS = Path(__file__).parent.parent / "models" / "weights"


class SettingsError(Exception):
    """A setting that does not exist."""


class Settings(BaseSettings):
    """What can be set, its default, and what it does."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        frozen=True,
    )

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="processes that share the port, each with its own models and queue")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto (a GPU where there is one), cpu, cuda or cuda:N"
    )
    threads: int = Field(
        0, ge=0, description="threads of the CPU device; 0: one less than the cores, all in short batches where that is faster"
    )
    engine: Literal["auto", "torch", "onnx"] = Field(
        "auto", description="what computes: torch, onnx (ONNX Runtime, on the CPU), auto (onnx where it is installed)"
    )
    precision: Literal["float32", "tf32", "bf16"] = Field("float32", description="of the engine torch; tf32 needs a GPU")
    models_dir: Path = Field(SHIPPED_WEIGHTS, description="directory of checkpoint directories")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names to load, separated by commas; all found when empty"
    )
    default_model: str = Field("mnist", description="model of requests that name none; if absent, the first one loaded")
    max_batch: int = Field(64, ge=8, le=4096, multiple_of=8, description="rows of the largest batch, a multiple of 8")
    max_queue_rows: int = Field(8192, ge=8, description="rows that may wait for one operation; more get 429")
    max_rows: int = Field(4096, ge=1, description="items in one request; more are refused")
    max_body_bytes: int = Field(64 << 20, ge=1024, description="bytes of a request's body; more get 413")
    max_pixels: int = Field(
        50_000_000, ge=1, description="width x height of a picture; of all in a request four times as many"
    )
    max_decoded_bytes: int = Field(
        256 << 20, ge=1 << 20, description="memory for decoding pictures, all requests of a worker together"
    )
    decode_seconds: float = Field(
        10.0,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="how long decoders may work on a picture, waiting not counted; then 413",
    )
    max_bodies_bytes: int = Field(256 << 20, ge=1024, description="bytes of all bodies in flight in a worker; more get 429")
    max_connections: int = Field(2000, ge=1, description="open connections of a worker; more get 503")
    max_header_bytes: int = Field(128 << 10, ge=1024, description="bytes of a request line and its headers; more get 431")
    max_headers: int = Field(100, ge=10, description="headers of a request; more get 431")
    header_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="for a request line and its headers; later ones get 408"
    )
    keep_alive_seconds: float = Field(
        75.0, ge=0, allow_inf_nan=False, description="a connection stays open without a request; longer than a proxy keeps it"
    )
    slow_seconds: float = Field(
        20.0, gt=0, allow_inf_nan=False, description="how long a body or the reader of an answer may be slow; then cut off"
    )
    min_bytes_per_second: int = Field(500, ge=0, description="slower senders and readers are cut off; 0 for never")
    api_keys_file: Path | None = Field(None, description="file of API keys, a line each: name scopes key; none: open to all")
    api_keys: SecretStr = Field(
        SecretStr(""), description="more of the same lines, separated by semicolons; as a flag others on the machine see it"
    )
    metrics_access: Literal["key", "open"] = Field("key", description="whether /metrics needs a key, where there are keys")
    key_rate: float = Field(0.0, ge=0, allow_inf_nan=False, description="requests a second of one key; more get 429; 0: any")
    key_burst: int = Field(0, ge=0, description="requests of one key at once, above its rate; 0: those of a second")
    key_concurrency: int = Field(0, ge=0, description="requests of one key at a time; more get 429; 0: any")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="sites whose pages may ask, like https://app.example, separated by commas; * for all"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="public host names of this service, separated by commas; * for all; addresses and private names always "
        "are",
    )
    store: str = Field(
        "latents.db", min_length=1, description="latents are kept here: path of a sqlite file, or postgresql://..."
    )
    store_max_bytes: int = Field(4 << 30, ge=1 << 20, description="memory for vectors of a sqlite file; more get 507")
    drain_seconds: float = Field(
        5.0, ge=0, allow_inf_nan=False, description="after SIGTERM: not ready, but serving for so long (Ctrl-C skips it)"
    )
    shutdown_seconds: float = Field(10.0, ge=0, allow_inf_nan=False, description="then: how long requests may take to finish")
    heartbeat_seconds: float = Field(
        30.0, ge=5, allow_inf_nan=False, description="a batch that takes longer is stuck: /health/live fails"
    )
    admin: bool = Field(False, description="offer /admin: loading, unloading and reloading of models")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="of the log: json, text, auto (text on a terminal, else json)"
    )
    access_log: bool = Field(True, description="log a line for every request")
    metrics: bool = Field(True, description="count what /metrics shows")

    @field_validator("models", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _bounds_agree(self) -> "Settings":
        if self.max_queue_rows < max(self.max_batch, self.max_rows):
            raise ValueError("max_queue_rows must be at least max_batch and max_rows")
        if self.max_bodies_bytes < self.max_body_bytes:
            raise ValueError("max_bodies_bytes must be at least max_body_bytes")
        return self

    def read_api_keys_file(self) -> tuple[str, str] | None:
        """Return the name and the content of `api_keys_file`, None where there is none. Raises SettingsError."""
        if self.api_keys_file is None:
            return None
        try:
            return str(self.api_keys_file), read_regular(self.api_keys_file, MAX_KEYS_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(f"cannot read the API keys in {self.api_keys_file}: {reason}") from None


def calm_blas(environment: MutableMapping[str, str] = os.environ) -> None:
    """numpy's matrix products each on one thread, before numpy is imported: scans of the latent store share chunks among
    threads of their own, which meet once a scan and not once a product. torch and ONNX Runtime have other threads.
    """
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")


def trace_exporter(environment: Mapping[str, str] = os.environ) -> str:
    """Where OpenTelemetry's own variables want traces to go: otlp, console, or an empty string for nowhere.

    Unlike the standard's, our default is nowhere: to otlp they go when an endpoint is set, or when they are told to. Raises
    SettingsError for an exporter that there is not.
    """
    found = {name.upper(): value.strip() for name, value in environment.items() if name.upper().startswith("OTEL_")}
    chosen = found.get("OTEL_TRACES_EXPORTER", "").lower()
    if found.get("OTEL_SDK_DISABLED", "").lower() == "true" or chosen == "none":
        return ""
    if chosen not in ("", "otlp", "console"):
        raise SettingsError(f"OTEL_TRACES_EXPORTER may be otlp, console or none, not {chosen!r}")
    endpoints = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    return chosen or ("otlp" if any(found.get(name) for name in endpoints) else "")


# as prometheus-client names it
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(directory: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell the processes that will be started where they share their metrics."""
    environment[METRICS_DIRECTORY] = str(directory)


def metrics_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this process, one of several, shares its metrics."""
    return Path(environment[METRICS_DIRECTORY])


def refuse_unknown(environment: Mapping[str, str] = os.environ) -> None:
    """Raises SettingsError for a variable that starts with VAE_ but is no setting: mostly a slip of the pen."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | FOREIGN
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            raise SettingsError(f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else ""))
