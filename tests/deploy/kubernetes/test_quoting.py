"""The chart writes names as text and numbers with their value, whatever YAML and Helm would make of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from .programs import templated, variables
from .renderings import IMAGE


@pytest.mark.parametrize("name", ["123", "2024", "1e3", "0x1f", "null", "true", "no", "off"])
def test_names_stay_text(name: str) -> None:
    """Whatever YAML would read a bare word as."""
    values: dict[str, Any] = {
        "image": {**IMAGE["image"], "pullSecrets": [name]},
        "apiKeys": {"secret": name, "key": name},
        "serviceMonitor": {"enabled": True, "secret": name, "key": name},
        "models": {"claim": name},
    }
    stores: list[dict[str, Any]] = [
        {"sqlite": {"storageClass": name}},
        {"sqlite": {"claim": name}},
        {"kind": "postgres", "postgres": {"secret": name, "key": name, "readsKey": "reads"}},
        {"kind": "postgres", "postgres": {"readsKey": name}},
    ]
    for store, count in zip(stores, (7, 7, 8, 7), strict=True):
        made = templated({**values, "store": store})
        assert [one for one in leaves(made) if one == name] == [name] * count


@pytest.mark.parametrize("release", ["true", "null", "no", "y"])
def test_releases_of_any_name_stay_text(release: str) -> None:
    made = templated(IMAGE, release=release)
    assert {one["metadata"]["name"] for one in made} == {release, f"{release}-latents"}
    assert {one["metadata"]["labels"]["app.kubernetes.io/instance"] for one in made} == {release}


def leaves(value: Any) -> Iterator[Any]:
    """Every key, text, number and null in it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


def test_large_numbers_keep_their_value() -> None:
    made = variables(templated({**IMAGE, "settings": {"VAE_KEY_RATE": 1e30, "VAE_MAX_PIXELS": 10**20}}))
    assert float(made["VAE_KEY_RATE"]) == 1e30
    assert made["VAE_MAX_PIXELS"] == "100000000000000000000"
