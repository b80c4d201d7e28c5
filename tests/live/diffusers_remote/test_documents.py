"""The programs in docs/diffusers.md run as they stand, but for the address and the model."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.documents import DOCUMENTS, blocks, shell
from tests.live.diffusers_remote.own_vae import picture
from tests.live.server import ROOT

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


def test_curl_does_the_same(url: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    encode, decode = shell(SECTION)
    for command in (encode, decode):
        assert "localhost:8000/diffusers/sprites-kl" in command
        own = command.replace("localhost:8000/diffusers/sprites-kl", f"{url}/diffusers/tiny-kl")
        subprocess.run(own.replace("curl ", "curl --silent --fail "), shell=True, check=True, cwd=tmp_path)
    head = (tmp_path / "head.txt").read_text().lower()
    for line in ("shape: [1, 4, 3, 3]", "dtype: float32", "x-warnings: 1"):
        assert f"\n{line}\n" in head
    assert (tmp_path / "latents.bin").stat().st_size == 4 * 4 * 3 * 3
    with Image.open(tmp_path / "seven.png") as decoded:
        assert decoded.size == (24, 24)
