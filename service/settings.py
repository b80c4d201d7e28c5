"""Settings of the service: the only place that reads the environment. Each is a variable (VAE_PORT) and a flag (--port).

Knows nothing of what the values are used for.
"""

import os
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from service.environment import PREFIX, Environment, of_kubernetes, platform_port
from service.environment import SettingsError as SettingsError
from service.http.addresses import HIGHEST_PORT, check_host_name, check_origin, check_proxy, check_root_path
from service.setting_files import MAX_KEYS_BYTES, text_of, values_of_files
from service.suggestion import suggestion

# Variables of `python -m models.train`, which may be set in the same environment.
FOREIGN = {"VAE_DATA_DIR"}
# Settings whose values are lists: what checks each value.
CHECKS: dict[str, Callable[[str], None]] = {
    "trusted_proxies": check_proxy,
    "cors_origins": check_origin,
    "allowed_hosts": check_host_name,
}
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
SHIPPED_WEIGHTS = Path(__file__).parent.parent / "models" / "weights"
POSTGRES = ("postgresql://", "postgres://")
# Names are compared with their prefix, which makes all of them somewhat similar: VAE_FOO and VAE_PORT are at 0.67.
SIMILAR = 0.8


class Settings(BaseSettings):
    """Serve Variational Autoencoders over HTTP. Each flag is also a variable: --max-batch is VAE_MAX_BATCH. Flags win.

    --version prints the version and exits.
    """

    # The docstring above and the descriptions below are what `--help` prints.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        frozen=True,
        allow_inf_nan=False,
    )

    host: Annotated[tuple[str, ...], NoDecode] = Field(
        ("localhost",),
        min_length=1,
        description="addresses to listen on, separated by commas: names, IPv4 or IPv6 addresses, or unix:/path of a socket; "
        "0.0.0.0 is all IPv4 addresses of this machine, :: is all IPv6 and IPv4 addresses",
    )
    port: int = Field(
        8000, ge=0, le=65535, description="port to listen on; 0 chooses a free port; without a value, the variable PORT counts"
    )
    root_path: str = Field(
        "/", description="path under which a proxy shows the service, such as /vae; whether the proxy removes it or not"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="addresses or networks of proxies, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed; * for all",
    )
    workers: int = Field(
        1, ge=1, le=64, description="number of processes that share the port, each with its own models and queue"
    )
    device: str = Field("auto", description="cpu, cuda, cuda:N, or auto (a GPU if there is one)")
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads that compute; 0 uses all cores but one, and all cores in short batches if that is faster",
    )
    engine: Literal["auto", "torch", "onnx"] = Field(
        "auto", description="library that computes: torch, onnx (ONNX Runtime, CPU only), or auto (onnx if it is installed)"
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32", description="number format of the engine torch; tf32 is refused without a GPU"
    )
    models_dir: Path = Field(SHIPPED_WEIGHTS, description="directory that contains a checkpoint directory for each model")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names of the models to load, separated by commas; empty loads all models of the directory"
    )
    default_model: str = Field(
        "mnist",
        description="model of requests that name none; if you set it, it must load; without a model mnist, the default is the "
        "first model that was loaded",
    )
    max_batch: int = Field(
        64, ge=8, le=4096, multiple_of=8, description="largest number of pictures or latents in a batch, a multiple of 8"
    )
    max_queue_rows: int = Field(
        8192, ge=8, description="pictures or latents that may wait for one operation of a model; more get 429"
    )
    max_rows: int = Field(
        4096,
        ge=1,
        description="largest number of items in a request; more get 413 or 422; unless it is set, at most half of the queue",
    )
    max_body_bytes: int = Field(64 << 20, ge=1024, description="largest request body in bytes; larger ones get 413")
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="largest picture in pixels (width x height); all pictures of a request together: four times as many",
    )
    max_decoded_bytes: int = Field(
        256 << 20, ge=1 << 20, description="memory in bytes for decoding pictures, all requests of a worker together"
    )
    decode_seconds: float = Field(
        10.0,
        gt=0,
        le=600,
        description="seconds for decoding one picture, without waiting time; a picture that takes longer gets 413",
    )
    max_bodies_bytes: int = Field(
        256 << 20,
        ge=1024,
        description="memory in bytes for all bodies of requests and answers in a worker; requests beyond it get 429",
    )
    max_connections: int = Field(2000, ge=1, description="open connections of a worker; more get 503")
    max_header_bytes: int = Field(
        128 << 10, ge=1024, description="largest request line and headers together, in bytes; larger ones get 431"
    )
    max_headers: int = Field(100, ge=10, description="largest number of headers in a request; more get 431")
    header_seconds: float = Field(10.0, gt=0, description="seconds for receiving a request line and its headers; then 408")
    keep_alive_seconds: float = Field(
        75.0,
        ge=0,
        description="seconds until an idle connection is closed; set it longer than the proxy in front keeps connections",
    )
    slow_seconds: float = Field(
        20.0,
        gt=0,
        description="seconds that a transfer may be slower than min_bytes_per_second; then the connection is closed",
    )
    min_bytes_per_second: int = Field(
        500, ge=0, description="slowest accepted transfer rate in bytes per second; 0 disables the check"
    )
    api_keys_file: Path | None = Field(
        None, description="file of API keys, one per line: NAME SCOPES KEY; without keys the service is open to all"
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="more such lines, separated by semicolons; prefer the variable, since other users can see a flag",
    )
    metrics_access: Literal["key", "open"] = Field(
        "key", description="whether /metrics needs a key (key) or not (open), if there are keys"
    )
    key_rate: float = Field(
        0.0, ge=0, description="rate limit of each caller in requests per second; more get 429; 0: no limit"
    )
    key_burst: int = Field(
        0, ge=0, description="requests that a caller may send at once after a pause; 0: as many as key_rate allows in a second"
    )
    key_concurrency: int = Field(
        0, ge=0, description="requests of each caller that may run at the same time; more get 429; 0: no limit"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="web sites whose pages may use the service (CORS), like https://app.example, separated by commas; * for "
        "all",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="public host names of this service, separated by commas; * for all; IP addresses and private names are "
        "always allowed",
    )
    store: str = Field(
        "latents.db", min_length=1, description="where latents are stored: path of a sqlite file, or postgresql://..."
    )
    store_reads: str = Field(
        "", description="postgresql://... of a streaming replica of the database of store, which answers reads of items"
    )
    store_file: Path | None = Field(
        None, description="file with the value of store, such as a mounted secret with a password; it wins over store"
    )
    store_reads_file: Path | None = Field(None, description="the same for store_reads")
    store_max_bytes: int = Field(
        4 << 30, ge=1 << 20, description="memory in bytes for the vectors of a sqlite file; items beyond it get 507"
    )
    store_max_picture_bytes: int = Field(
        4 << 30, ge=0, description="bytes of the pictures that collections keep, together; items beyond it get 507"
    )
    drain_seconds: float = Field(
        5.0,
        ge=0,
        description="seconds after SIGTERM during which the service is unready but still serves; Ctrl-C skips them",
    )
    shutdown_seconds: float = Field(10.0, ge=0, description="seconds after draining for running requests to finish")
    heartbeat_seconds: float = Field(
        30.0, ge=5, description="a batch that takes more seconds counts as stuck: /health/live fails"
    )
    admin: bool = Field(False, description="offer /admin, which loads, unloads and reloads models")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="format of the log: json, text, or auto (text on a terminal, otherwise json)"
    )
    access_log: bool = Field(True, description="log a line for every request")
    metrics: bool = Field(True, description="collect metrics and offer /metrics")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, besides flags: arguments, then the environment."""
        return init_settings, Environment(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        return values | values_of_files(values)

    @field_validator("host", "trusted_proxies", "models", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if not DEVICE.fullmatch(value):
            raise ValueError("must be auto, cpu, cuda or cuda:N")
        return value

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        check_root_path(value)
        return value

    @field_validator(*CHECKS)
    @classmethod
    def _check_each(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for one in value:
            CHECKS[info.field_name or ""](one)
        return value

    @model_validator(mode="after")
    def _bounds_agree(self) -> "Settings":
        if "max_rows" not in self.model_fields_set:
            self.__dict__["max_rows"] = min(self.max_rows, self.max_queue_rows // 2)
        if self.max_queue_rows < max(self.max_batch, self.max_rows):
            raise ValueError(
                f"max_queue_rows ({self.max_queue_rows}) must be at least max_batch ({self.max_batch}) and max_rows "
                f"({self.max_rows}): raise it, or lower these"
            )
        if self.max_bodies_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_bodies_bytes ({self.max_bodies_bytes}) must be at least max_body_bytes ({self.max_body_bytes})"
            )
        if self.store_reads and not (self.store.startswith(POSTGRES) and self.store_reads.startswith(POSTGRES)):
            raise ValueError(
                "store_reads is for a store in PostgreSQL: store and store_reads must both begin with postgresql://"
            )
        return self

    def port_to_listen_on(self) -> int:
        """Return `port`, or the platform's PORT if `port` is not set. Raise SettingsError."""
        if "port" in self.model_fields_set or not (value := platform_port()):
            return self.port
        if not value.isdecimal() or int(value) > HIGHEST_PORT:
            raise SettingsError(f"PORT must be a number from 0 to {HIGHEST_PORT}, not {value!r}; or set VAE_PORT, which wins")
        return int(value)

    def read_api_keys_file(self) -> tuple[str, str] | None:
        """Return the name and the content of `api_keys_file`, or None if it is not set. Raise SettingsError."""
        if self.api_keys_file is None:
            return None
        try:
            return str(self.api_keys_file), text_of(self.api_keys_file, MAX_KEYS_BYTES)
        except ValueError as error:
            raise SettingsError(f"cannot read the API keys in {self.api_keys_file}: {error}") from None


def require_packages(settings: Settings) -> None:
    """Raise SettingsError if a setting needs a package that is not installed."""
    if settings.store.startswith(POSTGRES) and find_spec("psycopg") is None:
        raise SettingsError("a store in PostgreSQL needs psycopg; install it with: pip install 'vae-service[pgvector]'")


def refuse_unknown(environment: Mapping[str, str] = os.environ) -> None:
    """Raise SettingsError for a variable that starts with VAE_ but is not a setting, which is mostly a typing error."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | FOREIGN
    for name in sorted(set(environment) - set(of_kubernetes(environment))):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            hint = suggestion(name.upper(), known, "python -m service --help lists all", SIMILAR)
            raise SettingsError(f"unknown setting {name}; {hint}")
