"""The programs in docs/diffusers.md run as they stand, but for the address and the model."""

from pathlib import Path
from typing import Any

import pytest

from tests.documents import DOCUMENTS, blocks
from tests.live.diffusers_remote.own_vae import picture

SECTION = DOCUMENTS["docs/diffusers.md"].partition("\n## The remote VAE\n")[2].partition("\n## ")[0]
ADDRESS = "http://localhost:8000/diffusers/sprites-kl"


def test_the_client_is_used_as_shown(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(64, 96).save("picture.png")
    (program,) = blocks("python", SECTION)
    assert ADDRESS in program
    names: dict[str, Any] = {}
    exec(program.replace(ADDRESS, f"{url}/diffusers/tiny-kl"), names)
    assert names["latents"].shape == (1, 4, 8, 12)
    assert names["picture"].size == (96, 64)
