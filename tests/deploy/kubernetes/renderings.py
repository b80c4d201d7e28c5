"""All ways of deploying that the tests look at: each overlay and component, and the chart with many values."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from .programs import CHART, KUBERNETES, Object, combined, kustomized, objects, templated

ONES = "sha256:" + "1" * 64
TWOS = "sha256:" + "2" * 64
IMAGE = {"image": {"repository": "registry.example/vae-service", "digest": ONES}}
POSTGRES = {"store": {"kind": "postgres"}}
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
TRACES = [
    {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.monitoring:4318"},
    {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": {"name": "collector", "key": "headers"}}},
]
VALUES: dict[str, dict[str, Any]] = {
    "least": {},
    "tag": {"image": {"digest": "", "tag": "0.2.0", "pullSecrets": ["registry"]}},
    "replicas": {"replicas": 3, **POSTGRES},
    "autoscaling": {"autoscaling": {"enabled": True, "minReplicas": 3, "queuedRows": 4000000}, **POSTGRES},
    "gpus": {"gpu": {"count": 2}, "nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    "gpu and postgres": {"gpu": {"count": 1}, **POSTGRES},
    "models of a volume": {"models": {"claim": "vae-models"}},
    "models of an image": {"models": {"image": {"repository": "registry.example/vae-weights", "digest": TWOS}}},
    "open": {"apiKeys": {"secret": ""}, "serviceMonitor": {"enabled": True}},
    "monitored": {"serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}}},
    "traces": {"extraEnv": TRACES},
    "own volume": {"store": {"sqlite": {"claim": "old"}}},
    "storage class": {"store": {"sqlite": {"storageClass": "fast", "size": "1Ti"}}},
    "no network policy": {"networkPolicy": {"enabled": False}},
    "narrow network": {
        "networkPolicy": {"callers": [{"namespaceSelector": {"matchLabels": {"team": "search"}}}]},
        "store": {"kind": "postgres", "postgres": {"port": 6432, "peers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    },
    "settings": {
        "settings": {"VAE_MAX_BODY_BYTES": 134217728, "VAE_KEY_RATE": 0.5, "VAE_ADMIN": True, "VAE_MODELS": "mnist,sprites"}
    },
    "reads": {"replicas": 2, "store": {"kind": "postgres", "postgres": {"secret": "db", "key": "rw", "readsKey": "ro"}}},
    "patient": {"drainSeconds": 60, "shutdownSeconds": 120},
}
COMPONENTS = {
    "gpu-postgres": ("gpu", "postgres", "autoscaling"),
    "models-volume": ("sqlite", "models-volume"),
    "models-image": ("postgres", "models-image"),
    "service-monitor": ("sqlite", "service-monitor"),
}


def combined_in(*components: str) -> list[Object]:
    """The objects of the base with components."""
    with tempfile.TemporaryDirectory() as directory:
        return combined(Path(directory), *components)


EXAMPLES = sorted(path.name for path in (CHART / "ci").iterdir())
NAMES = [
    *(f"overlay {name}" for name in OVERLAYS),
    *(f"components {name}" for name in COMPONENTS),
    *(f"chart {name}" for name in (*EXAMPLES, *VALUES)),
]


@functools.cache
def rendered(name: str) -> list[Object]:
    """The objects of one of NAMES."""
    how, what = name.split(" ", 1)
    if how == "overlay":
        return objects(kustomized(KUBERNETES / "overlays" / what))
    if how == "components":
        return combined_in(*COMPONENTS[what])
    if what in EXAMPLES:
        return templated({}, CHART / "ci" / what)
    values = VALUES[what]
    return templated({**values, "image": {**IMAGE["image"], **values.get("image", {})}})
