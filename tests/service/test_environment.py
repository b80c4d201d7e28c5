"""Variables of the surroundings: those of Kubernetes are no settings, and the port of a platform."""

import pytest

from service.environment import of_kubernetes
from service.settings import Settings, SettingsError, refuse_unknown


def test_variables_of_kubernetes_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "VAE_PORT": "tcp://10.96.0.17:8000", "VAE_SERVICE_HOST": "10.96.0.17", "VAE_SERVICE_PORT_HTTP": "8000",
        "VAE_PORT_8000_TCP": "tcp://10.96.0.17:8000", "VAE_PORT_53_UDP_ADDR": "10.96.0.17", "VAE_PORT_9_SCTP_PROTO": "sctp",
        "VAE_MODELS_PORT": "tcp://10.96.0.18:80", "VAE_MODELS_SERVICE_PORT": "80", "VAE_STORE_SERVICE_HOST": "10.96.0.19",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    refuse_unknown()
    assert len(of_kubernetes()) == 9
    assert (Settings().port, Settings().model_fields_set) == (8000, set())
    monkeypatch.setenv("PORT", "8080")
    assert Settings().port_to_listen_on() == 8080
    monkeypatch.setenv("PORT", "tcp://10.96.0.17:8000")
    assert Settings().port_to_listen_on() == 8000
    assert "PORT" in of_kubernetes()


@pytest.mark.parametrize("name", ["VAE_SERVICE_HOTS", "VAE_MODELS_PORT", "VAE_PORT_8000", "VAE_PORT_TCP", "VAE_SERVICE"])
def test_other_variables_are_still_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {name}"):
        refuse_unknown({name: "8000"})


@pytest.mark.parametrize(
    ("variables", "arguments", "port"),
    [
        ({"PORT": "8080"}, [], 8080),
        ({"PORT": ""}, [], 8000),
        ({"PORT": "8080", "VAE_PORT": "9000"}, [], 9000),
        ({"PORT": "8080", "VAE_PORT": ""}, [], 8080),
        ({"PORT": "8080"}, ["--port", "9001"], 9001),
        ({"PORT": "abc"}, ["--port", "9001"], 9001),
        ({"VAE_PORT": "8000", "VAE_SERVICE_HOST": "10.96.0.17"}, [], 8000),
    ],
)
def test_the_port_of_a_platform(
    variables: dict[str, str], arguments: list[str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings(_cli_parse_args=arguments).port_to_listen_on() == port


@pytest.mark.parametrize("value", ["abc", "-1", "65536", "8080.0"])
def test_a_port_of_a_platform_that_is_none_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", value)
    assert Settings().port == 8000  # for other commands, which listen on no port
    with pytest.raises(SettingsError, match=f"^PORT must be a number from 0 to 65535, not '{value}'"):
        Settings().port_to_listen_on()
