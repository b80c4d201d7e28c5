"""What the objects say agrees with the service, and no pod has more rights than it needs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.app import create_app
from service.environment import PREFIX
from service.settings import Settings, refuse_unknown
from tests.live.server import ROOT

from .programs import KUBERNETES, NAMESPACE, Object, containers, only, variables
from .renderings import NAMES, TRACES, rendered

SELECTOR = {"app.kubernetes.io/name": "vae-service", "app.kubernetes.io/instance": "vae"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# What Kubernetes needs to answer a probe, to learn that a pod ends, and to end its processes after the last request.
MARGIN_SECONDS = 10

each = pytest.mark.parametrize("made", NAMES, indirect=True)


@pytest.fixture
def made(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


def pod(made: list[Object]) -> Object:
    found: Object = only("Deployment", made)["spec"]["template"]
    return found


def files_of_secrets(made: list[Object]) -> dict[str, str]:
    """The paths of all files that are mounted from secrets, with the keys of the secrets."""
    mounts = {mount["name"]: mount["mountPath"] for one in containers(made) for mount in one["volumeMounts"]}
    volumes = [one for one in pod(made)["spec"]["volumes"] if "secret" in one]
    return {
        f"{mounts[one['name']]}/{item['path']}": f"{one['secret']['secretName']}: {item['key']}"
        for one in volumes
        for item in one["secret"]["items"]
    }


@each
def test_the_service_takes_the_environment(made: list[Object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every VAE_* variable is a setting with a value that it may have, and none is there twice. No value is a secret."""
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    found = variables(made)
    others = [one for one in service["env"] if one["name"] not in found]
    assert len(found) + len(others) == len(service["env"])
    assert others == (TRACES if made is rendered("chart traces") else [])
    refuse_unknown({one["name"]: "" for one in service["env"]})
    (tmp_path / "address").write_text("postgresql://vae:secret@database/vae")
    for name, value in found.items():
        assert not name.endswith("_FILE") or value in files_of_secrets(made)
        is_address = name in ("VAE_STORE_FILE", "VAE_STORE_READS_FILE")
        monkeypatch.setenv(name, str(tmp_path / "address") if is_address else value)
    settings = Settings()
    read = {name.removesuffix("_FILE") for name in found if name.startswith("VAE_STORE") and name.endswith("_FILE")}
    assert {PREFIX + name.upper() for name in settings.model_fields_set} == set(found) | read
    ports = {port["name"]: port["containerPort"] for port in service["ports"]}
    assert (settings.port, settings.host) == (ports["http"], ("::",))


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    """The paths of the service, with their methods."""
    found: dict[str, Any] = create_app(Settings()).openapi()["paths"]
    return found


@each
def test_probes_ask_for_what_exists(made: list[Object], paths: dict[str, Any]) -> None:
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    asked = {name: service[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    for get in asked.values():
        assert "get" in paths[get["path"]]
        assert get["port"] in {port["name"] for port in service["ports"]}
    assert asked["livenessProbe"]["path"] == "/health/live"
    assert asked["readinessProbe"]["path"] == asked["startupProbe"]["path"] == "/health/ready"


@each
def test_a_pod_may_drain_and_shut_down_before_it_is_killed(made: list[Object]) -> None:
    found, spec = variables(made), pod(made)["spec"]
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    hook = service.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = hook + float(found["VAE_DRAIN_SECONDS"]) + float(found["VAE_SHUTDOWN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= needed + MARGIN_SECONDS


@each
def test_a_pod_has_no_rights(made: list[Object]) -> None:
    """The restricted pod security standard, a read-only root, and nothing of the Kubernetes API."""
    spec = pod(made)["spec"]
    security = spec["securityContext"]
    (user,) = re.findall(r"^USER (\d+):0\nWORKDIR /data", DOCKERFILE, re.MULTILINE)
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, int(user))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert only("ServiceAccount", made)["automountServiceAccountToken"] is False
    for container in containers(made):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    assert {one["kind"] for one in made}.isdisjoint({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret"})


@each
def test_what_the_service_writes_is_on_a_volume(made: list[Object]) -> None:
    """/tmp always, and the directory of a SQLite file; models and keys are read only."""
    volumes = {one["name"]: one for one in pod(made)["spec"]["volumes"]}
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    mounts = {one["mountPath"]: one for one in service["volumeMounts"]}
    assert {one["name"] for one in mounts.values()} == set(volumes)
    found = variables(made)
    written = {"/tmp"} | ({"/data"} if found.get("VAE_STORE") == "/data/latents.db" else set())
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == written
    assert ("/secrets" in mounts) == ("VAE_API_KEYS_FILE" in found)
    assert ("/store" in mounts) == ("VAE_STORE_FILE" in found) == ("VAE_STORE" not in found)
    assert ("/models" in mounts) == (found.get("VAE_MODELS_DIR") == "/models")


@each
def test_several_pods_share_their_latents(made: list[Object]) -> None:
    """One pod if they are in a file, replaced by leaving; otherwise the next one is ready before one leaves."""
    deployment = only("Deployment", made)["spec"]
    has_autoscaler = any(one["kind"] == "HorizontalPodAutoscaler" for one in made)
    assert ("replicas" in deployment) != has_autoscaler
    if "VAE_STORE" in variables(made):
        assert (deployment["replicas"], deployment["strategy"], has_autoscaler) == (1, {"type": "Recreate"}, False)
    else:
        assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_secrets_of_the_store_are_files() -> None:
    """With their keys: the address of the primary, and that of a replica if there is one."""
    for made in map(rendered, NAMES):
        found = {path: key for path, key in files_of_secrets(made).items() if path.startswith("/store/")}
        if made is rendered("chart reads"):
            assert found == {"/store/url": "db: rw", "/store/reads": "db: ro"}
            assert variables(made)["VAE_STORE_READS_FILE"] == "/store/reads"
        else:
            assert found == ({} if "VAE_STORE" in variables(made) else {"/store/url": "vae-store: url"})


@each
def test_every_object_says_its_namespace(made: list[Object]) -> None:
    assert {one["metadata"].get("namespace") for one in made} == {NAMESPACE}


@each
def test_images_are_digests(made: list[Object]) -> None:
    """Of our own images the user says which; there are no others. An image that is in no registry has none."""
    names = set()
    for container in containers(made):
        name, tag = re.fullmatch(
            r"([\w.]+/vae-(?:service|weights))(@sha256:[0-9a-f]{64}|:\d+\.\d+\.\d+)", container["image"]
        ).groups()  # type: ignore[union-attr]
        assert tag.startswith("@") or made is rendered("chart tag")
        names.add(name.rpartition("/")[2])
    assert "vae-service" in names


@each
def test_selectors_find_the_pods_and_nothing_else(made: list[Object]) -> None:
    assert pod(made)["metadata"]["labels"] == SELECTOR
    selectors: list[Any] = [
        only("Deployment", made)["spec"]["selector"]["matchLabels"],
        only("Service", made)["spec"]["selector"],
        only("PodDisruptionBudget", made)["spec"]["selector"]["matchLabels"],
    ]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in made if one["kind"] == "NetworkPolicy"]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in made if one["kind"] == "ServiceMonitor"]
    (term,) = pod(made)["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors.append(term["podAffinityTerm"]["labelSelector"]["matchLabels"])
    assert all(selector == SELECTOR for selector in selectors)
    assert all(SELECTOR.items() <= one["metadata"]["labels"].items() for one in made)


@each
def test_the_network_is_the_port_the_names_and_the_database(made: list[Object]) -> None:
    policies = [one["spec"] for one in made if one["kind"] == "NetworkPolicy"]
    if made is rendered("chart no network policy"):
        assert policies == []
        return
    (policy,) = policies
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http", "protocol": "TCP"}]]
    ports = [(port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"]]
    database = [] if "VAE_STORE" in variables(made) else [(policy["egress"][-1]["ports"][0]["port"], "TCP")]
    assert ports == [(53, "UDP"), (53, "TCP"), *database]
    assert "to" in policy["egress"][0]


@each
def test_one_core_of_http_is_enough_for_the_autoscaler(made: list[Object]) -> None:
    """Small requests take one core of a process: the target is at most that, or no number of them would add a pod."""
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    for one in made:
        if one["kind"] == "HorizontalPodAutoscaler":
            (percent,) = [
                metric["resource"]["target"]["averageUtilization"]
                for metric in one["spec"]["metrics"]
                if metric["type"] == "Resource"
            ]
            assert float(service["resources"]["requests"]["cpu"]) * percent / 100 <= 1


def test_labels_of_the_service_monitor_are_added() -> None:
    """And replace none of those that all objects have."""
    (monitor,) = [one for one in rendered("chart monitored") if one["kind"] == "ServiceMonitor"]
    assert {**SELECTOR, "release": "prometheus"}.items() <= monitor["metadata"]["labels"].items()


def test_the_autoscaler_reads_a_metric_that_exists() -> None:
    """The name in /metrics, in the autoscaler and in the rule of prometheus-adapter is the same."""
    documented = re.findall(r"^\| `(vae_\w+)` \| model, lane \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    for made in map(rendered, NAMES):
        for one in made:
            if one["kind"] == "HorizontalPodAutoscaler":
                metrics = {metric["type"]: metric for metric in one["spec"]["metrics"]}
                name = metrics["Pods"]["pods"]["metric"]["name"]
                assert name in documented
                assert one["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vae"}
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert re.match(rf"{name}{{", rule["seriesQuery"])
    assert (rule["name"]["matches"], rule["name"]["as"]) == (f"^{name}$", name)
    query = rule["metricsQuery"].replace("<<.Series>>", name).replace("<<.LabelMatchers>>", 'namespace="x",pod=~"a|b"')
    assert query.replace("<<.GroupBy>>", "pod") == f'sum(avg_over_time({name}{{namespace="x",pod=~"a|b"}}[1m])) by (pod)'
