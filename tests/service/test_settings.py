"""Settings: what can be set, by which names, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service.environment import SettingsError, trace_exporter
from service.flags import explain
from service.settings import SHIPPED_WEIGHTS, Settings, refuse_unknown

# One setting of each type: a value as text, and that value.
EXAMPLES: dict[str, tuple[str, Any]] = {
    "port": ("0", 0),
    "key_rate": ("0.5", 0.5),
    "admin": ("true", True),
    "precision": ("bf16", "bf16"),
    "device": ("cuda:1", "cuda:1"),
    "models_dir": ("some/where", Path("some/where")),
    "models": ("mnist, fashion-mnist,", ("mnist", "fashion-mnist")),
    "host": ("127.0.0.1, ::1", ("127.0.0.1", "::1")),
    "root_path": ("/vae/", "/vae/"),
    "trusted_proxies": ("10.0.0.0/8,::1", ("10.0.0.0/8", "::1")),
    "cors_origins": ("https://app.example,http://localhost:3000", ("https://app.example", "http://localhost:3000")),
    "api_keys_file": ("some/keys", Path("some/keys")),
    "api_keys": ("a infer,store k1; b - k2", SecretStr("a infer,store k1; b - k2")),
}


def test_the_shipped_weights_are_the_default() -> None:
    assert Settings().models_dir == SHIPPED_WEIGHTS
    assert (SHIPPED_WEIGHTS / "mnist" / "config.json").is_file()


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in Settings.model_fields.items() if len(field.description or "") <= 10] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_setting_is_a_variable_and_a_flag(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = EXAMPLES[name]
    assert getattr(Settings(), name) != value
    from_flag = Settings(_cli_parse_args=[f"--{name.replace('_', '-')}", text])
    assert getattr(from_flag, name) == value
    for variable in (f"VAE_{name.upper()}", f"vae_{name}"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, text)
            from_environment = Settings()
            refuse_unknown()
        assert getattr(from_environment, name) == value
        assert from_environment.model_fields_set == from_flag.model_fields_set == {name}


def test_a_flag_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_PORT", "1")
    monkeypatch.setenv("VAE_HOST", "0.0.0.0")
    settings = Settings(_cli_parse_args=["--port", "2"])
    assert (settings.port, settings.host) == (2, ("0.0.0.0",))


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"VAE_{name.upper()}", "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(("text", "names"), [("a", ("a",)), ("a,b", ("a", "b")), (" a , ,b,", ("a", "b")), (",", ())])
def test_models_are_separated_by_commas(text: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_MODELS", text)
    assert Settings().models == names
    assert Settings(_cli_parse_args=["--models", text]).models == names
    assert Settings(models=names).models == names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("device", "gpu"),
        ("device", "cuda:"),
        ("device", "cpu:0"),
        ("device", "cuda:0 "),
        ("threads", "-1"),
        ("workers", "0"),
        ("workers", "65"),
        ("engine", "tensorrt"),
        ("engine", "ONNX"),
        ("precision", "float16"),
        ("precision", "64"),
        ("max_batch", "0"),
        ("max_batch", "7"),
        ("max_batch", "12"),
        ("max_batch", "4104"),
        ("max_queue_rows", "7"),
        ("max_rows", "0"),
        ("max_body_bytes", "1023"),
        ("max_pixels", "0"),
        ("max_bodies_bytes", "1023"),
        ("max_decoded_bytes", "1048575"),
        ("decode_seconds", "0"),
        ("decode_seconds", "601"),
        ("decode_seconds", "nan"),
        ("max_connections", "0"),
        ("max_header_bytes", "1023"),
        ("max_headers", "9"),
        ("header_seconds", "0"),
        ("header_seconds", "inf"),
        ("keep_alive_seconds", "-1"),
        ("slow_seconds", "0"),
        ("min_bytes_per_second", "-1"),
        ("metrics_access", "closed"),
        ("key_rate", "-1"),
        ("key_rate", "nan"),
        ("key_burst", "-1"),
        ("key_concurrency", "-1"),
        ("drain_seconds", "-1"),
        ("shutdown_seconds", "-1"),
        ("heartbeat_seconds", "4"),
        ("drain_seconds", "nan"),
        ("drain_seconds", "inf"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("access_log", "perhaps"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"VAE_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]
    (sentence,) = explain(caught.value, [])
    assert sentence.startswith(f"VAE_{name.upper()} must be ")
    assert sentence.endswith(f", not {value!r}")


@pytest.mark.parametrize(
    ("max_batch", "max_rows", "max_queue_rows", "fits"),
    [(64, 100, 100, True), (64, 10, 64, True), (64, 100, 99, False), (64, 10, 63, False)],
)
def test_the_queue_holds_the_largest_batch_and_the_largest_request(
    max_batch: int, max_rows: int, max_queue_rows: int, fits: bool
) -> None:
    bounds = {"max_batch": max_batch, "max_rows": max_rows, "max_queue_rows": max_queue_rows}
    if fits:
        assert Settings(**bounds).max_queue_rows == max_queue_rows  # type: ignore[arg-type]
    else:
        with pytest.raises(
            ValidationError, match=r"max_queue_rows \(\d+\) must be at least max_batch \(\d+\) and max_rows \(\d+\)"
        ):
            Settings(**bounds)  # type: ignore[arg-type]


def test_a_short_queue_has_small_requests_unless_their_size_is_set() -> None:
    assert Settings().max_rows == 4096
    assert Settings(max_queue_rows=2048).max_rows == 1024
    assert Settings(max_queue_rows=2048, max_rows=2048).max_rows == 2048


def test_the_largest_body_always_has_room() -> None:
    with pytest.raises(ValidationError, match=r"max_bodies_bytes \(\d+\) must be at least max_body_bytes \(\d+\)"):
        Settings(max_body_bytes=2000, max_bodies_bytes=1999)
    assert Settings(max_body_bytes=2000, max_bodies_bytes=2000).max_bodies_bytes == 2000


def test_keys_are_never_shown() -> None:
    settings = Settings(api_keys=SecretStr("app infer a-very-secret-key"))
    assert "secret-key" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


# --- names that are no settings


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("VAE_FOO", "unknown setting VAE_FOO; python -m service --help lists all"),
        ("VAE_PROT", "unknown setting VAE_PROT; did you mean VAE_PORT?"),
        ("VAE_MODEL_DIR", "unknown setting VAE_MODEL_DIR; did you mean VAE_MODELS_DIR?"),
        ("vae_max_bach", "unknown setting vae_max_bach; did you mean VAE_MAX_BATCH?"),
        ("VAE_QQQQQQQQQQQQ", "unknown setting VAE_QQQQQQQQQQQQ; python -m service --help lists all"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(
    variable: str, suggestion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        refuse_unknown()
    assert str(caught.value) == suggestion


def test_variables_of_others_are_tolerated() -> None:
    refuse_unknown({"VAE_DATA_DIR": "data", "PATH": "/bin", "MY_VAE_PORT": "1", "VAEPORT": "1", "VAE": "1"})


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Settings(_cli_parse_args=["--prot", "1"])
    assert caught.value.code == 2
    assert "--prot" in capsys.readouterr().err


def test_help_shows_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Settings(_cli_parse_args=["--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    for name, field in Settings.model_fields.items():
        default = field.default
        assert f"--{name.replace('_', '-')}" in shown
        assert f"default:{''.join(str(default).split())}" in shown


# --- what the variables of OpenTelemetry ask for


@pytest.mark.parametrize(
    ("variables", "exporter"),
    [
        ({}, ""),
        ({"OTEL_SERVICE_NAME": "digits"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_traces_go_where_the_standard_variables_say(variables: dict[str, str], exporter: str) -> None:
    assert trace_exporter(variables) == exporter


def test_an_exporter_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="OTEL_TRACES_EXPORTER must be otlp, console or none, not 'zipkin'"):
        trace_exporter({"OTEL_TRACES_EXPORTER": "zipkin"})


# --- addresses


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cors_origins", "https://a.example/,https://b.example"),
        ("allowed_hosts", "https://vae.example"),
        ("trusted_proxies", "nginx"),
        ("root_path", "vae"),
        ("host", ","),
    ],
)
def test_addresses_are_checked(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"VAE_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]
