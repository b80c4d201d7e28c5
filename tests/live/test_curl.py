"""The forms of the shell: curl as people type it."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from .pictures import decoded, text
from .server import Server


def curl(server: Server, directory: Path, *arguments: str) -> bytes:
    """Return what `curl ARGUMENTS` prints; @URL stands for the service. Fail on a status of 400 and above."""
    words = ["curl", "--silent", "--show-error", "--fail-with-body", *(word.replace("@URL", server.url) for word in arguments)]
    done = subprocess.run(words, cwd=directory, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stderr, done.stdout)
    return done.stdout


@pytest.fixture
def directory(tmp_path: Path, pngs: list[bytes]) -> Path:
    (tmp_path / "seven.png").write_bytes(pngs[0])
    (tmp_path / "two.png").write_bytes(pngs[1])
    (tmp_path / "body.json").write_text(json.dumps({"images": [text(pngs[0])]}))
    return tmp_path


def test_one_picture(server: Server, client: httpx.Client, directory: Path, pngs: list[bytes]) -> None:
    expected = client.post("/encode", content=pngs[0]).content
    for words in (
        ("--data-binary", "@seven.png"),
        ("-F", "image=@seven.png"),
        ("-F", "image=<seven.png;type=image/png"),
        ("-T", "seven.png", "-X", "POST"),
        ("-T", "seven.png", "-X", "POST", "-H", "Transfer-Encoding: chunked"),
        ("-d", "@body.json"),
        ("--json", "@body.json"),
    ):
        assert curl(server, directory, *words, "@URL/encode") == expected, words


def test_a_large_picture(server: Server, client: httpx.Client, directory: Path, pngs: list[bytes]) -> None:
    (directory / "large").write_bytes(pngs[0] + bytes(3 << 20))  # what follows a PNG's end is nobody's
    expected = client.post("/encode", content=pngs[0]).content
    assert curl(server, directory, "--data-binary", "@large", "-H", "Expect: 100-continue", "@URL/encode") == expected


def test_several_pictures_and_parameters(server: Server, client: httpx.Client, directory: Path, pngs: list[bytes]) -> None:
    files = [("image", ("x", png)) for png in pngs[:2]]
    expected = client.post("/encode?include=kl", files=files).content
    form = ["-F", "image=@seven.png", "-F", "image=@two.png"]
    assert curl(server, directory, *form, "@URL/encode?include=kl") == expected
    assert curl(server, directory, *form, "-F", "include=kl", "@URL/encode") == expected


def test_pictures_out(server: Server, client: httpx.Client, directory: Path) -> None:
    curl(server, directory, "@URL/sample?n=16&seed=7&format=png", "-o", "samples.png")
    png = (directory / "samples.png").read_bytes()
    assert png == client.get("/sample?n=16&seed=7&format=png").content
    assert decoded(png).shape == (118, 118)
    path = ["-F", "start=@seven.png", "-F", "end=@two.png"]
    webp = curl(server, directory, *path, "@URL/interpolate?steps=4&format=webp")
    assert webp == curl(server, directory, *path, "-F", "steps=4", "-H", "Accept: image/webp", "@URL/interpolate")
    assert webp[8:12] == b"WEBP"


def test_head_and_failure(server: Server, directory: Path) -> None:
    words = ["curl", "--silent", "--fail", "--data-binary", "@body.json", f"{server.url}/decode"]
    assert subprocess.run(words, cwd=directory, capture_output=True, timeout=60, check=False).returncode == 22
    headers = curl(server, directory, "--head", "-X", "GET", "@URL/health/ready").decode()
    assert headers.startswith("HTTP/1.1 200")
