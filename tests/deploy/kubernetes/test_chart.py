"""The chart: it says the same as the overlays, and refuses what cannot work in words that say what to do."""

import copy
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


FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8"}}
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 2}, "replicas is 2, but store.kind is sqlite: a SQLite file belongs to one pod"),
    ({"autoscaling": {"enabled": True}}, "autoscaling.enabled is true, but store.kind is sqlite"),
    ({"image": {"repository": ""}}, "image.repository is not set: push the image"),
    ({"image": {"digest": ""}}, "image.digest is not set: set it to the sha256:... that `docker buildx imagetools inspect"),
    ({"image": {"tag": "1"}}, "image.digest and image.tag (1) are both set"),
    ({"autoscaling": {"enabled": True, "minReplicas": 11}, **POSTGRES}, "autoscaling.minReplicas (11) is larger than"),
    (
        {"models": {"claim": "a", "image": {"repository": "b"}}},
        "models.claim (a) and models.image.repository (b) are both set",
    ),
    ({"models": {"image": {"repository": "b"}}}, "models.image.digest is not set"),
    ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
    ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"store": {"kind": "mysql"}}, "at '/store/kind': value must be one of 'sqlite', 'postgres'"),
    ({"store": {"postgres": {"port": 70000}}}, "at '/store/postgres/port': maximum: got 70,000, want 65,535"),
    ({"store": {"sqlite": {"size": "10GB"}}}, "at '/store/sqlite/size': '10GB' does not match pattern"),
    ({"image": {"digest": "sha256:12"}}, "at '/image/digest': 'sha256:12' does not match pattern"),
    ({"image": {"repository": "vae-service:0.2.0"}}, "at '/image/repository': 'vae-service:0.2.0' does not match pattern"),
    ({"image": {"tag": "latest", "digest": ""}}, "image.tag is latest, which says nothing about what runs"),
    ({"settings": {"VAE_MAX_BACH": 8}}, "at '/settings': additional properties 'VAE_MAX_BACH' not allowed"),
    ({"settings": {"VAE_MAX_BATCH": 9}}, "at '/settings/VAE_MAX_BATCH': multipleOf: got 9, want 8"),
    ({"settings": {"VAE_WORKERS": "4"}}, "at '/settings/VAE_WORKERS': got string, want integer"),
    (
        {"settings": {"VAE_STORE": "x"}},
        "settings.VAE_STORE cannot be set, because the chart sets it: remove it, and set store.kind",
    ),
    ({"extraEnv": [{"name": "VAE_X", "value": ""}]}, "extraEnv has VAE_X, but VAE_* variables are settings of the service"),
    ({"extraEnv": [{"name": "A", "value": ""}, {"name": "A"}]}, "extraEnv has A twice: leave one of them out"),
    ({"extraEnv": [{"name": "A", "value": "", "valueFrom": FIELD}]}, "extraEnv: A has value and valueFrom"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value': got number, want string"),
    ({"extraEnv": [{"name": "A-B", "value": ""}]}, "at '/extraEnv/0/name': 'A-B' does not match pattern"),
    ({"serviceMonitor": {"labels": {"a": 1}}}, "at '/serviceMonitor/labels/a': got number, want string"),
    ({"store": {"postgres": {"readsKey": "a/b"}}}, "at '/store/postgres/readsKey': 'a/b' does not match pattern"),
    ({"resources": {"limits": {"memory": "2GB"}}}, "at '/resources/limits/memory': '2GB' does not match pattern"),
    ({"drainSeconds": 0}, "at '/drainSeconds': minimum: got 0, want 5"),
    ({"apiKeys": {"secret": "My_Keys"}}, "at '/apiKeys/secret': 'My_Keys' does not match pattern"),
    ({"networkPolicy": {"callers": [{}]}}, "at '/networkPolicy/callers/0': minProperties: got 0, want 1"),
    (
        {"resources": {"limits": {"memory": "1Gi"}}},
        "resources.requests.memory (2Gi) is larger than resources.limits.memory (1Gi)",
    ),
    ({"resources": {"limits": {"cpu": "1999m"}}}, "resources.requests.cpu (2) is larger than resources.limits.cpu (1999m)"),
    ({"resources": {"requests": {"memory": 2147483649}}}, "resources.requests.memory (2147483649) is larger than"),
    (
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        "resources.limits has nvidia.com/gpu, but the chart sets it from gpu.count",
    ),
    ({"resources": None}, "at '': missing property 'resources'"),
    ({"autoscaling": None}, "at '': missing property 'autoscaling'"),
    ({"store": {"sqlite": None}}, "at '/store': missing property 'sqlite'"),
    ({"serviceMonitor": {"enabled": True}, "settings": {"VAE_METRICS": False}}, "but settings.VAE_METRICS is false"),
    ({"store": {"sqlite": {"size": "0.0Gi"}}}, "store.sqlite.size is 0.0Gi: a volume needs room"),
    (
        {"networkPolicy": {"callers": [{**BLOCK, "podSelector": {}}]}},
        "networkPolicy.callers has a peer with ipBlock and a selector",
    ),
    ({"store": {"postgres": {"peers": [{**BLOCK, "namespaceSelector": {}}]}}}, "store.postgres.peers has a peer with ipBlock"),
    ({"networkPolicy": {"callers": [{"ipBlock": {"cidr": "10.0.0.0"}}]}}, "'10.0.0.0' does not match pattern"),
    ({"networkPolicy": {"callers": [{"ipBlock": {"cidr": "10.0.0.256/8"}}]}}, "'10.0.0.256/8' does not match pattern"),
    ({"networkPolicy": {"callers": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}}, "'10.0.0.0/33' does not match pattern"),
    ({"autoscaling": {"queuedRows": 1e20}}, "at '/autoscaling/queuedRows': maximum"),
    ({"store": {"postgres": {"readsKey": "ro"}}}, "store.postgres.readsKey is ro, but store.kind is sqlite"),
    (
        {"store": {"kind": "postgres", "postgres": {"readsKey": "url"}}},
        "store.postgres.readsKey and store.postgres.key are both url",
    ),
    (
        {"replicas": 2, "settings": {"VAE_ADMIN": True}, **POSTGRES},
        "settings.VAE_ADMIN is true, but there can be 2 pods",
    ),
    (
        {"autoscaling": {"enabled": True}, "settings": {"VAE_ADMIN": True}, **POSTGRES},
        "settings.VAE_ADMIN is true, but there can be 10 pods",
    ),
    (
        {"settings": {"VAE_STORE_MAX_BYTES": 1610612737}},
        "settings.VAE_STORE_MAX_BYTES is 1610612737, which each of the processes (VAE_WORKERS, 1)",
    ),
    ({"settings": {"VAE_STORE_MAX_BYTES": None}}, "settings.VAE_STORE_MAX_BYTES is 4294967296, which each"),
    ({"settings": {"VAE_WORKERS": 4}}, "Set VAE_STORE_MAX_BYTES to at most 402653184, or raise the limit"),
    (
        {"resources": {"limits": {"memory": "511Mi"}, "requests": {"memory": "256Mi"}}},
        "resources.limits.memory is 511Mi, but the service alone takes up to 512Mi",
    ),
    ({"serviceMonitor": {"interval": "often"}}, "at '/serviceMonitor/interval': 'often' does not match pattern"),
]


@pytest.mark.parametrize(("values", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_wrong_values_are_refused(values: dict[str, Any], words: str) -> None:
    """Each by itself, among values that are right."""
    whole: dict[str, Any] = copy.deepcopy({**IMAGE, **values})
    whole["image"] = {**IMAGE["image"], **values.get("image", {})}
    ended = template(whole)
    assert ended.returncode != 0
    assert words in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "values",
    [
        {"settings": {"VAE_STORE_MAX_BYTES": 1610612736}},  # the limit of 2Gi without the 512Mi of the service
        {"settings": {"VAE_STORE_MAX_BYTES": 1610612737}, **POSTGRES},
        {"settings": {"VAE_WORKERS": 4}, "resources": {"limits": {"memory": "2560Mi"}}},
        {"settings": {"VAE_WORKERS": 4}, "resources": {"limits": {"memory": None}}},
        {"resources": {"limits": {"memory": "512Mi"}, "requests": {"memory": "512Mi"}}, **POSTGRES},
        {"settings": {"VAE_ADMIN": True}},
        {"settings": {"VAE_ADMIN": False}, "autoscaling": {"enabled": True}, **POSTGRES},
        {"settings": {"VAE_ADMIN": True}, "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 1}, **POSTGRES},
        {"store": {"kind": "postgres", "postgres": {"readsKey": "reads"}}},
    ],
)  # fmt: skip
def test_values_that_just_fit_are_taken(values: dict[str, Any]) -> None:
    only("Deployment", templated({**IMAGE, **values}))


@pytest.mark.parametrize("release", ["123", "1e3", "a.b", "1a"])
def test_a_release_that_no_service_can_be_named_after_is_refused(release: str) -> None:
    ended = template(IMAGE, release=release)
    assert (ended.returncode != 0, ended.stdout) == (True, "")
    assert f'the release is named "{release}", but Kubernetes takes no Service of that name' in ended.stderr


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "192.168.255.1/32", "::/0", "fd00::/8", "2001:db8::1/128"])
def test_networks_of_both_families_are_taken(cidr: str) -> None:
    policy = only("NetworkPolicy", templated({**IMAGE, "networkPolicy": {"callers": [{"ipBlock": {"cidr": cidr}}]}}))
    assert policy["spec"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": cidr}}]


def test_limits_may_be_left_out() -> None:
    made = only("Deployment", templated({**IMAGE, "resources": {"limits": None, "requests": {"cpu": "500m"}}}))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "2Gi"}}
