"""Who may import whom, who reads the environment, and how long a file may be: the layers, held by the syntax trees."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("models", "service")
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODELS = [name for name in MODULES if name.split(".")[0] == "models"]
SERVICE = [name for name in MODULES if name.split(".")[0] == "service"]
WEB = {"fastapi", "fastapi_offline", "starlette"}
TRAINING = ("models.train", "models.data", "models.evaluate", "models.nets")
# small modules that any package may import
GROUND = (
    *("service.allowed_values", "service.asgi", "service.json_types", "service.suggestion", "service.thread_pool"),
    "service.timings",
)
LONGEST_GROUND = 60
# directly in service; they put the packages together
ABOVE = (
    "service.__main__",
    "service.app",
    "service.door_routes",
    "service.environment",
    "service.flags",
    "service.load_command",
    "service.load_model",
    "service.setting_files",
    "service.settings",
    "service.state",
    "service.store_addresses",
    "service.store_command",
    "service.store_flags",
)
# package -> what it may import beside itself and the ground
MAY_IMPORT = {
    "latents": (),
    "engine": ("models.onnx_graph",),
    "formats": ("models",),
    "store": ("service.latents", "service.engine.errors", "models.files"),
    "inference": ("service.engine", "service.formats", "service.latents", "models"),
    "operations": (
        *("service.inference", "service.store", "service.engine.errors", "service.formats", "service.latents"),
        *("models.readers", "models.files", "models.preprocess", "models.kinds"),
        *("models.scores", "models.calibration", "models.regret", "models.spatial_latents"),
    ),
    "bulk": (
        *("service.engine", "service.inference", "service.formats", "service.store", "service.operations"),
        *("models.preprocess", "models.files", "models.readers"),
    ),
    "observe": ("service.inference", "service.store", "service.engine", "service.latents"),
    "http": ("service.observe",),
    "server": ("service.http", "service.observe"),
    "explorer": ("service.http",),
    "diffusers_remote": (
        *("service.http", "service.operations", "service.observe", "service.formats", "service.latents"),
        *("service.inference", "service.engine.errors", "models.preprocess", "models.spatial_latents"),
    ),
    "open_inference": (
        *("service.http", "service.operations", "service.observe", "service.formats", "service.latents"),
        *("service.inference", "service.store", "service.engine.errors", "service.engine.lane"),
        *("models.kinds", "models.ink", "models.transparency"),
    ),
    "rest": (
        *("service.http", "service.operations", "service.observe", "service.formats", "service.latents"),
        *("service.inference", "service.store", "service.engine.errors", "service.state"),
        *("models.preprocess", "models.mosaic", "models.scores", "models.kinds", "models.drawings", "models.vae"),
        "models.spatial_latents",
    ),
}


def of_each(names: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Make one test of a check on each of the modules, or on each row of a table about them."""

    def all_of(check: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            for row in names:
                try:
                    check(*row) if isinstance(row, tuple) else check(row)
                except AssertionError as error:
                    raise AssertionError(f"{row}: {error}") from error

        return test

    return all_of


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


@cache
def imported(name: str) -> frozenset[str]:
    """All modules that a module imports, wherever in it: `from a.b import c` counts as a.b and a.b.c."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def under(found: AbstractSet[str], *packages: str) -> set[str]:
    """Those that are one of the packages, or lie in one."""
    return {name for name in found if any(name == package or name.startswith(f"{package}.") for package in packages)}


def modules_of(name: str) -> set[str]:
    """The modules of ours that a module imports; of `from a import b` it is a.b where that is a module, else a."""
    return {
        module
        for module in imported(name)
        if module in MODULES and not any(other.startswith(f"{module}.") for other in imported(name) if other in MODULES)
    }


def reads_environment(name: str) -> bool:
    nodes = list(ast.walk(tree(name)))
    written = [node.value for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)]
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"} and node not in written)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any("env" in alias.name for alias in node.names))
        for node in nodes
    )


def test_the_modules_are_found() -> None:
    assert {"models", "models.vae", "models.nets.conv", "service.engine.lane", "service.rest.routes.encode"} <= MODULES.keys()
    assert under(imported("service.app"), "service.inference.catalog") == {
        "service.inference.catalog",
        "service.inference.catalog.Catalog",
        "service.inference.catalog.CatalogError",
    }


@of_each(MODELS)
def test_models_know_nothing_of_the_service(name: str) -> None:
    assert not under(imported(name), "service", *WEB, "pydantic", "pydantic_settings", "asyncio", "uvicorn", "httpx")


@of_each(SERVICE)
def test_the_service_knows_nothing_of_training(name: str) -> None:
    assert not under(imported(name), *TRAINING)


@of_each(MAY_IMPORT)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    allowed = (f"service.{package}", *GROUND, *MAY_IMPORT[package])
    for name in under(set(SERVICE), f"service.{package}"):
        if name != "service.store.__main__":  # `python -m service.store` is another name of the command
            found = {module for module in modules_of(name) if module.split(".")[0] in ("service", "models")}
            assert found == under(found, *allowed), name


def test_only_what_puts_the_packages_together_lies_beside_them() -> None:
    assert {name for name in SERVICE if name.count(".") == 1 and MODULES[name].name != "__init__.py"} == {*ABOVE, *GROUND}
    assert {name.split(".")[1] for name in SERVICE if name.count(".") > 1} == MAY_IMPORT.keys()
    assert all(len(MODULES[name].read_text().splitlines()) < LONGEST_GROUND for name in GROUND)


def test_no_cycle_between_packages() -> None:
    below = {
        package: {
            module.split(".")[1]
            for name in under(set(SERVICE), f"service.{package}") - {"service.store.__main__"}
            for module in modules_of(name)
            if module.startswith("service.") and module.split(".")[1] in MAY_IMPORT
        }
        - {package}
        for package in MAY_IMPORT
    }
    TopologicalSorter(below).prepare()  # raises CycleError


@of_each(SERVICE)
def test_the_web_framework_stays_in_rest_and_the_page(name: str) -> None:
    assert (
        not under(imported(name), *WEB)
        or name in ("service.app", "service.door_routes", "service.state")
        or name.startswith(("service.rest.", "service.explorer."))
    )


@of_each(["service.engine.gate", "service.engine.fair_queue", "service.engine.lane", "service.engine.batcher"])
def test_the_batcher_needs_the_standard_library_only(name: str) -> None:
    found = {module.split(".")[0] for module in imported(name)} - {"service"}
    assert found <= sys.stdlib_module_names


@of_each(SERVICE)
def test_onnx_is_known_in_one_place_and_only_when_it_is_used(name: str) -> None:
    """It is an extra: importing the service must not need it."""
    anywhere = under(imported(name), "onnx", "onnxruntime")
    at_the_top = {alias.name for node in tree(name).body if isinstance(node, ast.Import) for alias in node.names}
    assert not anywhere or name == "service.engine.programs.onnx_program"
    assert not under(at_the_top, "onnx", "onnxruntime")


@pytest.mark.parametrize(
    ("package", "owner"), [("prometheus_client", "service.observe.prometheus"), ("opentelemetry", "service.observe.tracing")]
)
def test_what_is_slow_to_import_or_an_extra_is_known_in_one_place(package: str, owner: str) -> None:
    assert {name for name in SERVICE if under(imported(name), package)} == {owner}
    for name in SERVICE:
        at_the_top = {node.module for node in tree(name).body if isinstance(node, ast.ImportFrom)}
        assert owner not in at_the_top, f"{name} imports {owner} before it is needed"


@of_each(MODULES)
def test_diffusers_is_known_in_one_file_and_only_when_it_is_used(name: str) -> None:
    """It is an extra, and importing it takes seconds."""
    anywhere = under(imported(name), "diffusers")
    at_the_top = {node.module or "" for node in tree(name).body if isinstance(node, ast.ImportFrom)}
    assert not anywhere or name == "models.nets.autoencoder_kl"
    assert not under(at_the_top, "diffusers")


@of_each(MODULES)
def test_matplotlib_is_known_in_the_report_alone(name: str) -> None:
    """It is an extra: measuring a model must not need it."""
    at_the_top = {alias.name for node in tree(name).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not under(imported(name), "matplotlib") or name in (
        "models.evaluate.plots",
        "models.evaluate.report",
        "models.evaluate.planes",
    )
    assert not at_the_top & {"report", "planes"} or not name.startswith("models.")


@of_each(SERVICE)
def test_nobody_but_the_app_knows_the_routes(name: str) -> None:
    if name != "service.app" and not name.startswith("service.rest.routes"):
        assert not under(imported(name), "service.rest.routes", "service.app") or name == "service.__main__"


@of_each(MODULES)
def test_only_settings_and_arguments_read_the_environment(name: str) -> None:
    readers = ("service.environment", "service.settings", "models.train.flags", "models.train.ranks")
    assert reads_environment(name) == (name in readers)


@of_each(SERVICE)
def test_what_cuts_across_requests_is_pure_asgi(name: str) -> None:
    assert not under(imported(name), "starlette.middleware.base")


@pytest.mark.parametrize("package", ["models", "service", "tests"])
def test_no_file_is_long(package: str) -> None:
    files = [path for kind in ("*.py", "*.js") for path in (ROOT / package).rglob(kind) if path.parent.name != "vendor"]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


@of_each(MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(name))


def test_importing_the_service_starts_nothing() -> None:
    """No thread, no use of CUDA, and no ONNX Runtime, however much is imported."""
    program = (
        "import sys, threading, torch, service.app, service.__main__\n"
        "assert threading.enumerate() == [threading.main_thread()]\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert not {'diffusers', 'onnx', 'onnxruntime', 'prometheus_client', 'opentelemetry.sdk'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)


def test_a_proxy_of_ray_imports_no_models() -> None:
    """Ray starts a proxy anew that is not ready within 15 s, which importing PyTorch alone can take."""
    program = "import sys, deploy.ray.proxy\nassert not {'torch', 'fastapi', 'pydantic', 'pandas'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)
