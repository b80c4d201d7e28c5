"""What /info says of models that could not be loaded."""

import asyncio
import shutil
from pathlib import Path

import httpx

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import PATIENCE


async def test_info_says_why_models_could_not_be_loaded(weights: Path, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "grey").symlink_to(weights / "grey")
    shutil.copytree(weights / "grey", directory / "spoiled")
    (directory / "spoiled" / "config.json").write_text("{")
    (directory / "bare").mkdir()
    shutil.copy(weights / "grey" / "model.safetensors", directory / "bare")
    (directory / "moved").symlink_to(tmp_path / "gone for good")
    app = create_app(
        Settings(models_dir=directory, device="cpu", threads=1, max_batch=8, admin=True, store=str(tmp_path / "l.db"))
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        told = (await client.get("/info")).json()
        assert (told["models"], told["failed_models"]) == (["grey"], ["bare", "moved", "spoiled"])
        reasons = told["failed_model_reasons"]
        assert list(reasons) == told["failed_models"]
        assert reasons["bare"] == "has weights, model.safetensors, but no config.json; copy it beside them"
        assert reasons["moved"] == "is a link to gone for good, which leads nowhere; mend or remove the link"
        assert reasons["spoiled"].startswith("config.json: not JSON: ")
        assert str(tmp_path) not in str(told)
        shutil.copy(weights / "grey" / "config.json", directory / "spoiled")
        (await client.post("/admin/models/spoiled/load")).raise_for_status()
        assert set((await client.get("/info")).json()["failed_model_reasons"]) == {"bare", "moved"}
