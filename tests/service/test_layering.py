"""Who may import whom, who reads the environment, and how long a file may be: the layers, held by the syntax trees."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("models", "service")
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODELS = [name for name in MODULES if name.split(".")[0] == "models"]
SERVICE = [name for name in MODULES if name.split(".")[0] == "service"]
TRAINING = {
    f"models.{name}"
    for name in (
        *("train", "training_data", "evaluate", "measure", "report", "triptych", "planes", "aggregate", "data", "nets"),
        *("arguments", "resume"),
    )
}
WEB = {"fastapi", "fastapi_offline", "starlette"}


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


def reads_environment(name: str) -> bool:
    nodes = list(ast.walk(tree(name)))
    written = [node.value for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)]
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"} and node not in written)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any("env" in alias.name for alias in node.names))
        for node in nodes
    )


def test_the_modules_are_found() -> None:
    assert {"models", "models.vae", "models.nets.conv", "service.lane", "service.routes.encode"} <= MODULES.keys()
    assert under(imported("service.app"), "service.catalog") == {
        "service.catalog",
        "service.catalog.Catalog",
        "service.catalog.CatalogError",
    }


@of_each(MODELS)
def test_models_know_nothing_of_the_service(name: str) -> None:
    assert not under(imported(name), "service", *WEB, "pydantic", "pydantic_settings", "asyncio", "uvicorn", "httpx")


@of_each(SERVICE)
def test_the_service_knows_nothing_of_training(name: str) -> None:
    assert not under(imported(name), *TRAINING)


@of_each(SERVICE)
def test_the_web_framework_stays_at_the_door(name: str) -> None:
    found = under(imported(name), *WEB)
    if name == "service.request_id":
        found -= under(found, "starlette.types")
    assert not found or name in ("service.app", "service.errors") or name.startswith("service.routes.")


@of_each(["service.gate", "service.fair_queue", "service.lane", "service.batcher"])
def test_the_batcher_needs_the_standard_library_only(name: str) -> None:
    found = {module.split(".")[0] for module in imported(name) - under(imported(name), "service")}
    assert found <= sys.stdlib_module_names
    below = {"service.gate", "service.fair_queue", "service.lane"}
    assert {".".join(module.split(".")[:2]) for module in under(imported(name), "service")} <= below


@of_each(
    [
        ("service.gate", set()),
        ("service.fair_queue", set()),
        ("service.lane", {"fair_queue", "gate"}),
        ("service.batcher", {"gate", "lane"}),
        ("service.program", set()),
        ("service.onnx_program", {"program"}),
        ("service.cuda_program", {"program"}),
        ("service.operation", {"gate", "program"}),
        ("service.device", {"gate", "lane", "batcher", "program", "onnx_program", "cuda_program", "operation"}),
        ("service.runtime", {"device", "lane", "reconstruction", "seeds"}),
        ("service.catalog", {"device", "priors", "runtime"}),
        ("service.priors", {"latents"}),
        ("service.validation", {"calls", "codecs", "schemas"}),
        ("service.head", {"asgi"}),
        ("service.server", set()),
        ("service.workers", {"process", "server"}),
        ("service.png", set()),
        ("service.quick", set()),
        ("service.decoder", {"codecs", "process", "quick"}),
        ("service.decoder_process", {"decoder"}),
        ("service.fork_server", {"decoder", "decoder_process"}),
        ("service.decoder_pool", {"decoder_process", "fork_server"}),
        ("service.decoding_bounds", set()),
        ("service.decoders", {"codecs", "decoder", "decoder_pool", "decoder_process", "decoding_bounds"}),
        ("service.request_id", set()),
        ("service.admission", {"gate"}),
        (
            "service.engine",
            {
                "admission",
                "base64_text",
                "refusals",
                "catalog",
                "codecs",
                "decoders",
                "gate",
                "lane",
                "png",
                "quick",
                "runtime",
                "store",
                "thread_pool",
                "timings",
            },
        ),
        ("service.distances", set()),
        ("service.belonging", {"calls", "engine", "runtime", "store"}),
        ("service.entries", {"bodies", "codecs", "engine", "gate", "printable", "store"}),
        *(
            (name, {"distances", "store", "thread_pool"})
            for name in MODULES
            if name.startswith("service.store.") and "__main__" not in name
        ),
        ("service.endpoint", {"asgi", "calls", "engine", "errors", "gate", "limits", "observer", "request_id"}),
        ("service.observer", {"asgi", "metrics", "request_id", "timings", "trace_context"}),
        ("service.metrics", {"catalog", "drift", "histogram", "lane", "runtime", "store"}),
        ("service.drift", {"histogram", "latents", "reconstruction"}),
        ("service.exposition", {"histogram", "metrics"}),
        ("service.tracing", {"asgi", "metrics", "observer", "trace_context"}),
        ("service.histogram", set()),
        ("service.reconstruction", set()),
        ("service.timings", set()),
        ("service.trace_context", set()),
        ("service.shared_directory", set()),
        ("service.asgi", set()),
        ("service.keys", set()),
        ("service.allowance", set()),
        ("service.limits", set()),
        ("service.cors", {"asgi"}),
        ("service.cross_site", {"asgi", "cors", "errors", "request_id"}),
        ("service.page", {"catalog", "codecs"}),
        ("service.page_headers", {"asgi"}),
        ("service.access", {"allowance", "asgi", "errors", "keys", "refusals", "request_id"}),
        ("service.access_page", {"access"}),
        ("service.cycle", {"asgi"}),
        ("service.request_target", {"asgi", "limits"}),
        ("service.trailers", {"limits"}),
        ("service.protocol", {"errors", "limits", "parsing_turns", "request_parsing", "unsent"}),
        ("service.request_parsing", {"cycle", "limits", "parsing_turns", "request_target", "trailers"}),
        ("service.parsing_turns", set()),
        ("service.unsent", set()),
        ("service.host", {"asgi", "errors", "limits"}),
        ("service.log_writer", set()),
        ("service.seeds", set()),
        ("service.latents", set()),
        ("service.codecs", set()),
        ("service.base64_text", {"codecs"}),
        ("service.settings", set()),
        ("service.form", {"codecs"}),
        ("service.schemas", {"seeds"}),
        ("service.printable", set()),
        ("service.logs", {"printable"}),
    ],
)
def test_each_layer_knows_only_what_is_below(name: str, below: set[str]) -> None:
    own = {module.split(".")[1] for module in under(imported(name), "service") if "." in module}
    assert own <= below


@of_each(SERVICE)
def test_onnx_is_known_in_one_place_and_only_when_it_is_used(name: str) -> None:
    """It is an extra: importing the service must not need it."""
    anywhere = under(imported(name), "onnx", "onnxruntime")
    at_the_top = {alias.name for node in tree(name).body if isinstance(node, ast.Import) for alias in node.names}
    assert not anywhere or name == "service.onnx_program"
    assert not under(at_the_top, "onnx", "onnxruntime")


@pytest.mark.parametrize(
    ("package", "owner"), [("prometheus_client", "service.exposition"), ("opentelemetry", "service.tracing")]
)
def test_what_is_slow_to_import_or_an_extra_is_known_in_one_place(package: str, owner: str) -> None:
    assert {name for name in SERVICE if under(imported(name), package)} == {owner}
    for name in SERVICE:
        at_the_top = {node.module for node in tree(name).body if isinstance(node, ast.ImportFrom)}
        assert owner not in at_the_top, f"{name} imports {owner} before it is needed"


@of_each(MODULES)
def test_matplotlib_is_known_in_the_report_alone(name: str) -> None:
    """It is an extra: measuring a model must not need it."""
    at_the_top = {alias.name for node in tree(name).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not under(imported(name), "matplotlib") or name in ("models.plots", "models.report", "models.planes")
    assert not at_the_top & {"report", "planes"} or not name.startswith("models.")


@of_each(SERVICE)
def test_nobody_but_the_app_knows_the_routes(name: str) -> None:
    if name != "service.app" and not name.startswith("service.routes"):
        assert not under(imported(name), "service.routes", "service.app") or name == "service.__main__"


@of_each(MODULES)
def test_only_settings_and_arguments_read_the_environment(name: str) -> None:
    assert reads_environment(name) == (name in ("service.settings", "models.arguments"))


@of_each(SERVICE)
def test_what_cuts_across_requests_is_pure_asgi(name: str) -> None:
    assert not under(imported(name), "starlette.middleware.base")


@pytest.mark.parametrize("package", ["models", "service", "tests"])
def test_no_file_is_long(package: str) -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")}
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
        "assert not {'onnx', 'onnxruntime', 'prometheus_client', 'opentelemetry.sdk'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)
