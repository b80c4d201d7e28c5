"""What the documents name exists: commands, flags, files, headings, settings, packages."""

import json
import re
import sys
from collections.abc import Mapping

import pytest
import torch

from models.convert import __main__ as convert
from models.data.sources import SOURCES
from models.evaluate import __main__ as evaluate
from models.export import __main__ as export
from models.kinds import KINDS
from models.train import arguments
from service import store_flags
from service.open_inference.kinds import TENSORS
from service.rest.data_keys import ONE_OF
from service.rest.kinds import WIRES
from service.settings import Settings
from tests.documents import DOCUMENTS, README, blocks, shell
from tests.live.server import ROOT

SHELL = [line for text in DOCUMENTS.values() for line in shell(text)]
ARCHITECTURE = DOCUMENTS["docs/architecture.md"]


def arguments_of(module: str) -> list[list[str]]:
    """The arguments of every command that starts a module."""
    found = [line.split(f"-m {module} ")[1].split() for line in SHELL if f"-m {module} " in line]
    assert found
    return found


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [line.split()[1] for line in SHELL if line.startswith("make ")]
    assert {"serve", "test"} <= set(used) <= set(targets)


def test_commands_parse() -> None:
    for words in arguments_of("models.train"):
        if words != ["--preset", "list"]:  # that one prints and ends
            arguments.parse([word for word in words if word != "--resume"])  # which needs a run
    for words in arguments_of("service.store"):
        store_flags.parse(words)
    for module in (evaluate, export, convert):
        for words in arguments_of(module.__name__.removesuffix(".__main__")):
            module.build_parser().parse_args(words)


def test_the_registries_of_kinds_are_those_of_the_documents() -> None:
    """Each has all kinds, and no other dictionary of the packages does."""
    text = DOCUMENTS["docs/kinds.md"].partition("## Add a kind")[2]
    named = {(module.removesuffix(".py").removesuffix("/__init__"), name) for name, module in re.findall(
        r"in `([A-Z_]+)` of\s+`((?:models|service)/[\w/]+\.py)`", text)}  # fmt: skip
    assert len(named) == 8
    by_kind = set[tuple[str, str]]()
    for name, module in sys.modules.items():
        if name.partition(".")[0] in ("models", "service"):
            for attribute, value in vars(module).items():
                if isinstance(value, Mapping) and set(value) == set(KINDS):
                    by_kind.add((name.replace(".", "/"), attribute))
    assert {registry for registry in named if registry[1] not in ("SOURCES", "ONE_OF")} <= by_kind
    assert {attribute for _, attribute in by_kind} == {"KINDS", "TRAINING", "MEASURING", "SERVED_KINDS", "WIRES", "TENSORS"}
    assert set(TENSORS) == set(KINDS)
    assert {source.kind for source in SOURCES.values()} == set(KINDS)
    assert {wire.many for wire in WIRES.values()} == set(ONE_OF)


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_settings_of_the_readme_have_their_defaults() -> None:
    rows = re.findall(r"^\| `VAE_(\w+)` \| (.*?) \|", README, re.MULTILINE)
    assert len(rows) == 10
    for name, default in rows:
        field = Settings.model_fields[name.lower()]
        if isinstance(field.default, str | int | float):
            assert default == f"`{field.default}`", name


def test_settings_of_the_documents_exist() -> None:
    named = {name.lower() for text in DOCUMENTS.values() for name in re.findall(r"\bVAE_([A-Z_]+[A-Z])\b", text)}
    assert named - set(Settings.model_fields) <= {"data_dir"}


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", DOCUMENTS[path]):
        file, _, anchor = link.partition("#")
        target = (ROOT / path).parent / file if file else ROOT / path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/operations.md"])
def test_named_files_exist(path: str) -> None:
    for name in re.findall(r"`((?:models|service|tests|docs|deploy|benchmarks)/[\w./-]*)`", DOCUMENTS[path]):
        assert (ROOT / name).exists(), name


def test_models_are_used_as_shown() -> None:
    (program,) = blocks("python", ARCHITECTURE)
    names = {"x": torch.zeros(2, 1, 28, 28)}
    exec(program, names)
    assert names["posterior"].mu.shape == (2, 20)  # type: ignore[attr-defined]


def page_of_the_explorer() -> dict[str, str]:
    return {path.name: path.read_text() for path in (ROOT / "service/explorer/page").glob("*.js")}


def test_the_address_of_the_explorer_is_described() -> None:
    """Every field, and the defaults that are written down in the code."""
    state = page_of_the_explorer()["state.js"]
    (section,) = re.findall(r"^## A link to a view\n(.*?)^## ", DOCUMENTS["docs/explore.md"], re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`.*?) \| .* \| (.*) \|$", section, re.MULTILINE)
    described = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    (fields,) = re.findall(r"^const FIELDS = {\n(.*?)^};", state, re.MULTILINE | re.DOTALL)
    assert described.keys() == set(re.findall(r"^  (\w+):", fields, re.MULTILINE))
    (defaults,) = re.findall(r"^const DEFAULTS = {(.*)};", state, re.MULTILINE)
    for name, value in re.findall(r"(\w+): \"?(\w+)\"?", defaults):
        assert re.match(rf"`?{value}\b", described[name]), name


def test_the_test_ids_of_the_explorer_are_described() -> None:
    """All of them, and no others. A component adds an ending, such as -curl, to the one that it is given."""
    sources = page_of_the_explorer()
    found = re.findall(r"testid ?= ?(?:\"([^\"]+)\"|\$?\{?`([^`]+)`)", " ".join(sources.values()))
    written = {re.sub(r"\$\{.*?\}", "*", plain or template) for plain, template in found}
    endings = {name[1:] for name in written if name.startswith("*-")}
    whole = {name for name in written if not name.startswith("*")} | {"picture-reconstruction"}
    (table,) = re.findall(r"^\| part \| `data-testid` \|\n(.*?)\n\n", DOCUMENTS["docs/explore.md"], re.MULTILINE | re.DOTALL)
    described = set(re.findall(r"`([\w*-]+)`", table)) - {"map", "picture", "path", "directions", "neighbors"}
    assert whole - described == {name.removesuffix("-curl") for name in described if name.endswith("-copy-curl")}
    made = {base + ending for base in whole for ending in endings}
    assert described <= whole | made
    assert [ending for ending in endings - {"-python"} if not any(name.endswith(ending) for name in described)] == []


def packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "service").glob("*/__init__.py")}


def imports() -> dict[str, set[str]]:
    """The table of imports in docs/architecture.md."""
    (section,) = re.findall(r"^## Who may import whom\n(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|$", section, re.MULTILINE)
    return {package: set(re.findall(r"`(\w+)", text)) for package, text in rows}


def test_the_table_of_imports_has_every_package() -> None:
    assert imports().keys() == packages() | {"models"}
    assert set().union(*imports().values()) <= packages() | {"models"}


def test_the_drawing_is_the_table_of_imports() -> None:
    """A box may stand for two packages; an arrow is an import that one of the first may make of one of the second."""
    (drawing,) = blocks("mermaid", README)
    boxes = {name: label.split(", ") for name, label in re.findall(r'(\w+)\["(.*?)<br/>', drawing)}
    assert len(boxes) == 10
    assert {package for label in boxes.values() for package in label} == packages() | {"models"}
    for start, end in re.findall(r"(\w+)(?:\[.*?\])? --> (\w+)", drawing):
        assert any(imports()[package] & set(boxes[end]) for package in boxes[start]), (start, end)


@pytest.mark.parametrize(("path", "columns"), [("README.md", (2, 3)), ("docs/training.md", (3, 4))])
def test_likelihoods_are_those_of_the_metrics(path: str, columns: tuple[int, int]) -> None:
    rows = re.findall(r"^\| \[`([\w-]+)`\].*$", DOCUMENTS[path], re.MULTILINE)
    assert rows
    for line in re.findall(r"^\| \[`.*$", DOCUMENTS[path], re.MULTILINE):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        (name,) = re.findall(r"`([\w-]+)`", cells[0])
        metrics = json.loads((ROOT / "models" / "weights" / name / "metrics.json").read_text())
        if densities := metrics.get("densities"):  # A table of its own: nats of densities cannot be compared.
            keys = ("bits_per_dimension", "aggregate_prior_bits_per_dimension", "rmse", "sigma")
            digits = (3, 3, 4, 4)
            assert cells[3:7] == [f"{densities[key]:.{places}f}" for key, places in zip(keys, digits, strict=True)], name
            continue
        shown = [cells[column] for column in columns]
        assert shown == [f"{metrics['iwae_nll']:.2f}", f"{metrics['aggregate_prior']['iwae_nll']:.2f}"], name


def test_the_density_of_the_sprites_is_that_of_the_metrics() -> None:
    found = json.loads((ROOT / "models" / "weights" / "sprites" / "metrics.json").read_text())["densities"]
    words = f"at most {found['aggregate_prior_bits_per_dimension']:.3f} bits per dimension"
    assert words in README.replace("\n", " ")
    assert f"RMSE of its reconstructions and its pixel sigma are both {found['rmse']:.4f}" in README.replace("\n", " ")
    assert f"{found['sigma']:.4f}" == f"{found['rmse']:.4f}"


def test_throughput_is_that_of_the_benchmarks() -> None:
    """Each number of the README is in a table of benchmarks/README.md."""
    measured = DOCUMENTS["benchmarks/README.md"]
    (header, *rows) = re.findall(r"^\| (connections|\d+) \| (.*) \|$", README, re.MULTILINE)
    servers = [name.replace(" (", ", ").replace(")", "") for name in header[1].split(" | ")]
    assert len(rows) == 3
    for connections, cells in rows:
        for server, number in zip(servers, cells.split(" | "), strict=True):
            assert f"| encode 1, JSON | {connections} | {server} | {number} |" in measured, (server, connections)
