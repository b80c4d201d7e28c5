"""What says which version this is agrees, and the files for hosts of code are whole."""

import re
import tomllib
from datetime import date
from typing import Any

import pytest
import yaml

from tests.live.server import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def loaded(path: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / path).read_text())
    return found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("client/vae_client/version.py", '__version__ = "{}"'),
        ("deploy/kubernetes/chart/Chart.yaml", "version: {}"),
        ("deploy/kubernetes/chart/Chart.yaml", "appVersion: {}"),
        ("docs/operations.md", "vae_service-{}-py3-none-any.whl"),
        ("docs/http.md", '{{"version":"{}",'),
        ("docs/kubernetes.md", "registry.example/vae-service:{}"),
        ("Dockerfile", 'org.opencontainers.image.version="{}"'),
        ("CITATION.cff", "version: {}"),
    ],
)
def test_the_version_is_the_same_everywhere(path: str, line: str) -> None:
    assert line.format(VERSION) in (ROOT / path).read_text()


def test_the_changelog_has_every_release_with_its_date() -> None:
    """In the form of Keep a Changelog; what is not released yet may stand above."""
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    releases = [heading.split(" - ") for heading in headings if heading != "Unreleased"]
    assert releases[0][0] == VERSION
    assert headings[1:].count("Unreleased") == 0
    dates = [date.fromisoformat(day) for _, day in releases]
    assert dates == sorted(dates, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE))
    assert {"Added", "Changed", "Fixed"} <= kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_has_what_its_format_needs() -> None:
    found = loaded("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert found["cff-version"] == "1.2.0"
    assert f"## {VERSION} - {found['date-released']}\n" in CHANGELOG
    assert found["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


def test_the_supported_version_is_this_one() -> None:
    rows = dict(re.findall(r"^\| (\d+\.\d+) \| (yes|no) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE))
    assert [version for version, supported in rows.items() if supported == "yes"] == [VERSION.rpartition(".")[0]]


def test_the_image_has_labels_of_oci() -> None:
    (block,) = re.findall(r"^LABEL (.*?[^\\])\n", DOCKERFILE, re.MULTILINE | re.DOTALL)
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', block))
    assert {"title", "description", "licenses", "version", "revision", "created", "base.name"} <= labels.keys()
    arguments = set(re.findall(r"\b([A-Z_]+)\b", " ".join(re.findall(r"^ARG (.*)$", DOCKERFILE, re.MULTILINE))))
    assert {value.removeprefix("$") for value in labels.values() if value.startswith("$")} <= arguments


def test_the_workflow_runs_what_the_makefile_has_with_pinned_actions() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    workflow = loaded(".github/workflows/checks.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = " ".join(step.get("run", "") for step in steps)
    assert {"make lint", "make test"} <= set(re.findall(r"make \w+", commands))
    assert workflow["permissions"] == {"contents": "read"}
    actions = re.findall(r"uses: (.*)$", text, re.MULTILINE)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action
