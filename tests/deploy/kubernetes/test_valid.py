"""Every object is valid for every supported version of Kubernetes, without fields that it does not know."""

import copy
import functools
import json
from collections.abc import Iterator

import jsonschema
import kubernetes_validate.utils
import pytest

from .programs import Object
from .renderings import NAMES, rendered

VERSIONS = ["1.30", "1.33", "1.35", "1.37"]
NOT_OF_KUBERNETES = {"ServiceMonitor"}  # the Prometheus Operator defines it


@functools.cache
def definitions(filename: str, version: str) -> object:
    """A file of schemas, read once: the package reads 4 MB for each object."""
    return READ(filename, version)


READ = kubernetes_validate.utils.schema_contents


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", definitions)


def different() -> Iterator[tuple[str, Object]]:
    """Each object once, with the name of the first rendering that has it."""
    seen: set[str] = set()
    for name in NAMES:
        for one in rendered(name):
            text = json.dumps(one, sort_keys=True)
            if text not in seen:
                seen.add(text)
                yield name, one


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    kinds = set()
    for name, one in different():
        kinds.add(one["kind"])
        if one["kind"] in NOT_OF_KUBERNETES:
            continue
        try:
            assert kubernetes_validate.validate(one, version, strict=True) == version
        except jsonschema.ValidationError as error:
            raise AssertionError(f"{name}: {one['kind']} {list(error.path)}: {error.message}") from None
    assert kinds == NOT_OF_KUBERNETES | {
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


def test_a_wrong_object_is_not() -> None:
    made = copy.deepcopy(next(one for _, one in different() if one["kind"] == "Deployment"))
    made["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, VERSIONS[0], strict=True)
