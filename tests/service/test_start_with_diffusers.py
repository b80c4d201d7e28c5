"""What is said at a start about models of diffusers, with its packages and without them."""

import asyncio
import logging
from pathlib import Path

import pytest

from models import diffusers_layout
from service.app import create_app
from service.settings import SHIPPED_WEIGHTS
from tests.service.autoencoder_service import PATIENCE, make_models, settings


@pytest.fixture
def directory(tmp_path: Path, weights: Path) -> Path:
    """Models: one of diffusers, and another."""
    found = tmp_path / "models"
    found.mkdir()
    return make_models(found, weights)


async def test_without_diffusers_the_service_starts_and_says_what_to_install(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(diffusers_layout, "find_spec", lambda name: None)
    app = create_app(settings(directory, tmp_path / "latents.db"))
    with caplog.at_level(logging.WARNING):
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app.state.started.wait(), PATIENCE)
            assert (app.state.failure, list(app.state.service.pipeline.catalog.models)) == ("", ["grey"])
            assert app.state.service.pipeline.catalog.failed == set()
    (said,) = [record for record in caplog.records if "kl" in record.getMessage()]
    assert (said.levelname, "pip install 'vae-service[diffusers]'" in said.getMessage()) == ("WARNING", True)
    named = create_app(settings(directory, tmp_path / "latents.db", models=("grey", "kl")))
    async with named.router.lifespan_context(named):
        await asyncio.wait_for(named.state.started.wait(), PATIENCE)
        assert "pip install 'vae-service[diffusers]'" in named.state.failure


async def test_a_first_start_without_diffusers_has_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has asked for the model that ships in the layout of diffusers."""
    monkeypatch.setattr(diffusers_layout, "find_spec", lambda name: None)
    shipped = tmp_path / "shipped"
    for name in ("mnist-2d", "sprites-kl"):
        (shipped / name).parent.mkdir(exist_ok=True)
        (shipped / name).symlink_to(SHIPPED_WEIGHTS / name)
    monkeypatch.setattr("service.app.SHIPPED_WEIGHTS", shipped)
    app = create_app(settings(shipped, tmp_path / "latents.db"))
    with caplog.at_level(logging.INFO):
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app.state.started.wait(), PATIENCE)
            assert list(app.state.service.pipeline.catalog.models) == ["mnist-2d"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    (said,) = [record.getMessage() for record in caplog.records if "sprites-kl" in record.getMessage()]
    assert "pip install 'vae-service[diffusers]'. The service starts without it" in said


async def test_with_models_of_diffusers_alone_the_service_does_not_start_without_it(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers_layout, "find_spec", lambda name: None)
    (directory / "grey").unlink()
    app = create_app(settings(directory, tmp_path / "latents.db"))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure.startswith(f"none of the checkpoints in {directory} can be loaded; the first: cannot load")
        assert "pip install 'vae-service[diffusers]'" in app.state.failure


async def test_a_pipeline_among_the_models_is_named(directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    only = tmp_path / "only"
    (only / "sd" / "vae").mkdir(parents=True)
    (only / "sd" / "model_index.json").write_text("{}")
    for others in (False, True):
        if others:
            (only / "grey").symlink_to(directory / "grey")
        app = create_app(settings(only, tmp_path / "latents.db"))
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app.state.started.wait(), PATIENCE)
            said = caplog.text if others else app.state.failure
            assert f"{only / 'sd'}: is a whole pipeline of diffusers" in said
            assert f"put its folder {only / 'sd' / 'vae'} into the models' directory" in said
            assert (app.state.failure == "") == others
