"""The chart: it says the same as the overlays, and takes what the service takes."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from service.environment import PREFIX
from service.http.host_check import PRIVATE
from service.settings import Settings
from tests.live.server import ROOT

from .programs import CHART, KUBERNETES, Object, kustomized, notes, objects, only, run, template, templated
from .renderings import IMAGE, OVERLAYS, POSTGRES, combined_in

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
# Those that the chart sets from other values.
OWN = {"HOST", "PORT", "DEVICE", "MODELS_DIR", "STORE", "STORE_FILE", "STORE_READS", "STORE_READS_FILE", "API_KEYS"}
OWN |= {"API_KEYS_FILE", "DRAIN_SECONDS", "SHUTDOWN_SECONDS"}
CONSTRAINTS = {"type", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "enum"}
OF_HELM = {"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}


def normal(made: list[Object]) -> dict[tuple[str, str], Object]:
    """The objects by kind and name, without what only Helm says, the image's address, and the order of named things."""

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: tidy(one) for key, one in value.items() if key not in OF_HELM}
            if "image" in kept:
                kept["image"] = re.sub(r"^.*/|@.*$", "", kept["image"])
            return {key: one for key, one in kept.items() if not (key == "annotations" and one == {})}
        if isinstance(value, list):
            return (
                sorted(map(tidy, value), key=lambda one: one["name"])
                if all("name" in one for one in value)
                else [*map(tidy, value)]
            )
        return value

    return {(one["kind"], one["metadata"]["name"]): tidy(one) for one in made}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_makes_the_objects_of_the_overlay(name: str) -> None:
    assert normal(templated({}, CHART / "ci" / f"{name}-values.yaml")) == normal(
        objects(kustomized(KUBERNETES / "overlays" / name))
    )


@pytest.mark.parametrize(
    ("components", "values"),
    [
        (("sqlite", "models-volume"), {"models": {"claim": "vae-models"}}),
        (
            ("sqlite", "models-image"),
            {"models": {"image": {"repository": "r/vae-weights", "digest": IMAGE["image"]["digest"]}}},
        ),
        (("sqlite", "service-monitor"), {"serviceMonitor": {"enabled": True}}),
        (("postgres",), {"replicas": 2, **POSTGRES}),
    ],
)
def test_the_chart_makes_the_objects_of_the_components(components: tuple[str, ...], values: dict[str, Any]) -> None:
    assert normal(templated({**IMAGE, **values})) == normal(combined_in(*components))


def test_the_kustomizations_of_the_page_are_complete(tmp_path: Path) -> None:
    """A reader has a clone beside a directory with the file."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    files = re.findall(r"^    # kustomization\.yaml.*\n((?:    .*\n)+)", page, re.MULTILINE)
    (tmp_path / "vae").symlink_to(ROOT)
    kinds = []
    for i, text in enumerate(files):
        directory = tmp_path / f"mine-{i}"
        directory.mkdir()
        words = textwrap.dedent(text).replace("sha256:...", IMAGE["image"]["digest"])
        (directory / "kustomization.yaml").write_text(words)
        made = objects(kustomized(directory))
        (container,) = only("Deployment", made)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry.example/vae-service@{IMAGE['image']['digest']}"
        kinds.append({one["kind"] for one in made})
    first, second = kinds
    assert "PersistentVolumeClaim" in first
    assert {"HorizontalPodAutoscaler", "ServiceMonitor"} <= second


def test_another_release_has_other_names() -> None:
    """Two releases in one namespace share nothing."""
    one, other = normal(templated(IMAGE)), normal(templated(IMAGE, release="other"))
    assert set(one).isdisjoint(other)
    assert json.dumps(list(other.values())).count('"app.kubernetes.io/instance": "other"') == json.dumps(
        list(one.values())
    ).count('"app.kubernetes.io/instance": "vae"')


@pytest.mark.parametrize("values", ["", *sorted(path.name for path in (CHART / "ci").iterdir())])
def test_helm_lint_is_content(values: str) -> None:
    ended = run("helm", "lint", "--strict", str(CHART), *(["--values", str(CHART / "ci" / values)] if values else []))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 chart(s) failed" in ended.stdout


def test_settings_of_the_chart_are_those_of_the_service() -> None:
    """All of them but those that the chart sets, with the same types and bounds."""
    known = SCHEMA["properties"]["settings"]["properties"]
    page = Settings.model_json_schema()["properties"]
    assert known.keys() == {PREFIX + name.upper() for name in page if name.upper() not in OWN}
    for name, schema in known.items():
        setting = page[name.removeprefix(PREFIX).lower()]
        bounds = {key: value for key, value in setting.items() if key in CONSTRAINTS}
        assert schema["description"] == setting["description"]
        if bounds.get("type") in ("integer", "number", "boolean", "string"):
            assert {key: schema[key] for key in schema if key in CONSTRAINTS} == bounds, name
        else:  # lists and paths are text
            assert schema["type"] == "string", name


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_setting_that_the_chart_sets_is_refused_with_what_to_do(name: str) -> None:
    ended = template({**IMAGE, "settings": {PREFIX + name: "x"}})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.search(rf"settings\.{PREFIX + name} cannot be set, because the chart sets it: remove it, and \w", ended.stderr)


def test_the_notes_name_an_address_that_passes_without_api_keys() -> None:
    """And what other names need."""
    for secret, allowed in (("vae-keys", ""), ("", ""), ("", "vae.example")):
        values = {**IMAGE, "apiKeys": {"secret": secret}, "settings": {"VAE_ALLOWED_HOSTS": allowed}}
        said = " ".join(notes(values).split())
        (host,) = re.findall(r"http://(\S+):8000 inside the cluster", said)
        assert host.endswith(PRIVATE)
        assert ("get 421 unknown_host until settings.VAE_ALLOWED_HOSTS has it" in said) == (not secret and not allowed)
        assert ("may use the names vae.example" in said) == bool(allowed)


@pytest.mark.parametrize("components", [("sqlite", "autoscaling"), ("autoscaling", "sqlite"), ("autoscaling", "postgres")])
def test_autoscaling_needs_postgres_before_it(components: tuple[str, ...]) -> None:
    """Several pods with a file each must not be rendered."""
    with pytest.raises(AssertionError, match="/spec/strategy/type"):
        combined_in(*components)


@pytest.mark.parametrize("components", [("sqlite", "postgres"), ("postgres", "sqlite")])
def test_a_deployment_has_one_store(components: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match=r"testing value /spec/strategy failed"):
        combined_in(*components)


def test_every_value_is_in_the_schema() -> None:
    """And nothing else: a misspelt value is refused everywhere."""

    def compare(values: Any, schema: Any, path: str) -> None:
        properties = schema.get("properties")
        if properties is None or path == "/settings":
            return
        assert schema["additionalProperties"] is False, path
        assert values.keys() == properties.keys() - {"global"}, path
        for name in values:
            compare(values[name], properties[name], f"{path}/{name}")

    shown = run("helm", "show", "values", str(CHART))
    (values,) = objects(shown.stdout)
    compare(values, SCHEMA, "")


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "192.168.255.1/32", "::/0", "fd00::/8", "2001:db8::1/128"])
def test_networks_of_both_families_are_taken(cidr: str) -> None:
    policy = only("NetworkPolicy", templated({**IMAGE, "networkPolicy": {"callers": [{"ipBlock": {"cidr": cidr}}]}}))
    assert policy["spec"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": cidr}}]


def test_limits_may_be_left_out() -> None:
    made = only("Deployment", templated({**IMAGE, "resources": {"limits": None, "requests": {"cpu": "500m"}}}))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "2Gi"}}
