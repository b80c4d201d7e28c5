"""The chart refuses values that cannot work, in words that say what to do, and takes those that just fit."""

import copy
from typing import Any

import pytest

from .programs import only, template, templated
from .renderings import IMAGE, POSTGRES

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
