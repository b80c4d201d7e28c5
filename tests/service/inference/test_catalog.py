"""Models by name: which are loaded, which is the default, and what is said when one cannot be."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

import models
from models import VAE, VAEConfig
from models.calibration import CALIBRATION, write_calibration
from models.mixture import PRIOR
from service.engine.device import Device, QueueLimits
from service.inference.catalog import Catalog, CatalogError, UnknownModel, find
from tests.autoencoders import autoencoder


@pytest.fixture
async def catalog() -> AsyncIterator[Catalog]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=8, max_queue_rows=8, max_rows=8))
    device.start()
    yield Catalog(device)
    await device.close()


@pytest.fixture
def shelf(weights: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoints that a test may spoil, with things beside them that are no checkpoints."""
    shelf = shutil.copytree(weights, tmp_path / "shelf")
    (shelf / "notes").mkdir()
    (shelf / "README.md").write_text("not a model")
    return shelf


async def test_all_that_are_found_are_loaded_in_the_order_of_their_names(catalog: Catalog, shelf: Path) -> None:
    await catalog.load(shelf, (), "mnist")
    assert list(catalog.models) == ["colour", "grey"]
    assert catalog.default == "colour"  # the wanted one is absent, and nobody insists on it
    assert catalog.get(None) is catalog.models["colour"]
    assert catalog.get("grey") is catalog.models["grey"]


async def test_those_that_are_named_are_loaded_in_that_order(catalog: Catalog, shelf: Path) -> None:
    (shelf / "colour" / models.checkpoint.WEIGHTS).write_bytes(b"spoiled, but nobody asked for it")
    await catalog.load(shelf, ("grey",), "grey", default_is_required=True)
    assert (list(catalog.models), catalog.default) == (["grey"], "grey")


async def test_a_default_that_somebody_insists_on_must_be_there(catalog: Catalog, shelf: Path) -> None:
    with pytest.raises(CatalogError, match="default model 'mnist' is not loaded; loaded models: colour, grey"):
        await catalog.load(shelf, (), "mnist", default_is_required=True)


async def test_an_unknown_name_is_answered_with_the_known_ones(catalog: Catalog, shelf: Path) -> None:
    await catalog.load(shelf, (), "grey")
    with pytest.raises(UnknownModel, match=r"no model 'gray' is loaded; loaded models: colour, grey; did you mean grey\?"):
        catalog.get("gray")
    with pytest.raises(UnknownModel, match=r"loaded models: colour, grey$"):
        catalog.get("resnet")
    with pytest.raises(UnknownModel):
        catalog.get("")


@pytest.mark.parametrize("name", ["", "..", "../weights/grey", ".hidden", "a/b", "a\\b", "-x", "x" * 101, "ü"])
async def test_what_is_no_name_never_reaches_the_file_system(catalog: Catalog, shelf: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="is not a valid name of a model"):
        await catalog.load(shelf, (name,), "grey")


async def test_a_missing_model_is_named_with_its_file(catalog: Catalog, shelf: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot load the model purple: .*purple/config.json: no such file"):
        await catalog.load(shelf, ("purple",), "grey")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
async def test_a_spoiled_model_is_named_with_its_file(catalog: Catalog, shelf: Path, file: str) -> None:
    (shelf / "grey" / file).write_bytes(b"{")
    with pytest.raises(CatalogError, match=f"cannot load the model grey: .*{file}"):
        await catalog.load(shelf, ("grey",), "grey")


async def test_a_spoiled_directory_that_is_merely_found_is_left_out(
    catalog: Catalog, shelf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (shelf / "grey" / "model.safetensors").write_bytes(b"{")
    shutil.copytree(shelf / "colour", shelf / "my model\n")
    await catalog.load(shelf, (), "grey")
    assert (list(catalog.models), catalog.default, catalog.failed) == (["colour"], "colour", {"grey", "my model\\n"})
    assert catalog.loads == {("colour", "ok"): 1, ("grey", "failed"): 1, ("my model\\n", "failed"): 1}
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 3
    assert lines[0].startswith("cannot load the model grey: ")
    assert "'my model\\n' is not a valid name of a model" in lines[1]
    assert lines[2] == "requests that do not name a model get colour, because grey could not be loaded"
    with pytest.raises(CatalogError, match="cannot load the model grey"):
        await catalog.load(shelf, ("colour", "grey"), "colour")
    with pytest.raises(CatalogError, match="cannot load the model grey"):
        await catalog.load(shelf, (), "grey", default_is_required=True)
    catalog.models.clear()
    (shelf / "colour" / "config.json").write_text("{")
    with pytest.raises(
        CatalogError, match=r"none of the checkpoints in .* can be loaded; the first: cannot load the model colour"
    ):
        await catalog.load(shelf, (), "grey")


async def test_a_directory_without_checkpoints_is_refused(catalog: Catalog, shelf: Path, tmp_path: Path) -> None:
    for directory, reason in (
        (shelf / "notes", "has no checkpoint directories"),
        (tmp_path / "missing", "the models' directory .*missing does not exist"),
        (shelf / "grey", f"grey is a checkpoint; give the directory above it, {shelf}"),
    ):
        for names in ((), ("grey",)):
            with pytest.raises(CatalogError, match=reason):
                await catalog.load(directory, names, "grey")


def test_only_directories_with_a_configuration_are_found(shelf: Path) -> None:
    assert find(shelf) == ("colour", "grey")


# --- the numbers of a card


async def test_the_numbers_of_the_card_are_kept_as_they_are(catalog: Catalog, shelf: Path) -> None:
    numbers = {"elbo": -97.5, "protocol": {"samples": 100}}
    (shelf / "grey" / "metrics.json").write_text(json.dumps(numbers))
    await catalog.load(shelf, (), "grey")
    assert catalog.metrics == {"colour": {}, "grey": numbers}


async def test_a_spoiled_card_is_named(catalog: Catalog, shelf: Path) -> None:
    (shelf / "grey" / "metrics.json").write_text("{")
    with pytest.raises(CatalogError, match=r"metrics.json: "):
        await catalog.load(shelf, ("grey",), "grey")


async def test_a_spoiled_prior_is_named_with_its_file(catalog: Catalog, shelf: Path) -> None:
    (shelf / "grey" / PRIOR).write_bytes(b"{")
    with pytest.raises(CatalogError, match=f"cannot load the model grey: .*{PRIOR}"):
        await catalog.load(shelf, ("grey",), "grey")


# --- models whose numbers cannot be trusted


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["mlp", "autoencoder_kl"])
async def test_a_model_whose_answers_are_not_finite_is_refused(catalog: Catalog, tmp_path: Path, kind: str, side: str) -> None:
    """Its weights are finite, but so large that what they are multiplied with is not. No golden answers are beside them."""
    if kind == "mlp":
        vae = VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, "gaussian", {"link": "identity"}))
        spoiled = getattr(vae.net, side)
    else:
        original = autoencoder()
        spoiled = getattr(original, side).conv_out
    with torch.no_grad():
        for parameter in spoiled.parameters():
            parameter.fill_(3e38)
    if kind == "mlp":
        models.save(tmp_path / "bad", vae)
    else:
        original.save_pretrained(tmp_path / "bad")
    with pytest.raises(
        CatalogError, match=r"cannot load the model bad: \d+ of the \d+ numbers that .* are NaN or infinite; its"
    ):
        await catalog.load(tmp_path, ("bad",), "bad")
    assert catalog.models == {}


async def test_a_calibration_belongs_to_its_weights(catalog: Catalog, shelf: Path, caplog: pytest.LogCaptureFixture) -> None:
    await catalog.load(shelf, ("grey", "colour"), "grey")
    calibration = catalog.get("grey").calibration
    assert calibration is not None
    assert calibration.default == ("knn", "deviance")
    assert catalog.get("colour").calibration is None
    kept = (shelf / "grey" / CALIBRATION).read_bytes()
    write_calibration(shelf / "grey", calibration, "0" * 64)
    assert (await catalog.replace("grey")).digest == catalog.get("grey").digest
    assert catalog.get("grey").calibration is None
    assert "was made with other weights; make it again: python -m models.evaluate" in caplog.text
    (shelf / "grey" / CALIBRATION).write_bytes(kept[:-1])
    with pytest.raises(CatalogError, match=f"cannot load the model grey: .*{CALIBRATION}"):
        await catalog.replace("grey")
    (shelf / "grey" / CALIBRATION).write_bytes(kept)
    await catalog.replace("grey")
    assert catalog.get("grey").calibration is not None
