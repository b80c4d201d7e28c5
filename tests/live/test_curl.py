"""The forms of the shell: curl as people type it."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

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


def refused(server: Server, directory: Path, *arguments: str) -> dict[str, Any]:
    """Return the problem that `curl ARGUMENTS @URL/encode` prints."""
    words = ["curl", "--silent", *arguments, f"{server.url}/encode"]
    done = subprocess.run(words, cwd=directory, capture_output=True, timeout=60, check=True)
    problem: dict[str, Any] = json.loads(done.stdout)
    return problem


def test_files_that_curl_has_changed(server: Server, directory: Path, pngs: list[bytes]) -> None:
    picture = decoded(pngs[0])
    Image.fromarray(picture).save(directory / "seven.jpg")
    np.save(directory / "seven.npy", picture[None])
    for name in ("seven.png", "seven.jpg", "seven.npy"):
        problem = refused(server, directory, "-d", f"@{name}")
        assert problem["status"] == 400, name
        assert problem["detail"].endswith("send files with curl --data-binary @FILE"), name
        curl(server, directory, "--data-binary", f"@{name}", "@URL/encode")


def test_json_of_windows(server: Server, directory: Path) -> None:
    body = (directory / "body.json").read_text()
    (directory / "bom.json").write_text(body, encoding="utf-8-sig")
    curl(server, directory, "-d", "@bom.json", "@URL/encode")
    (directory / "utf16.json").write_text(body, encoding="utf-16")
    for words in (("-d", "@utf16.json"), ("--json", "@utf16.json"), ("--data-binary", "@utf16.json")):
        problem = refused(server, directory, *words)
        assert (problem["status"], problem["detail"][:19]) == (400, "the JSON is UTF-16,")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_compressed_bodies(server: Server, directory: Path, coding: str) -> None:
    """Refused before they are read, and before the client sends them if it asks."""
    (directory / "body.gz").write_bytes(gzip.compress((directory / "body.json").read_bytes()))
    for words in ((), ("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")):
        problem = refused(server, directory, "--data-binary", "@body.gz", "-H", f"Content-Encoding: {coding}", *words)
        assert (problem["status"], problem["code"]) == (415, "unsupported_media_type")
        expected = f"the Content-Encoding '{coding}' is not supported; send the body as it is, without this header"
        assert problem["detail"] == expected
    curl(server, directory, "-d", "@body.json", "-H", "Content-Encoding: identity", "@URL/encode")


def test_parameters_of_others(server: Server, directory: Path) -> None:
    added = "_=1700000000&utm_source=mail&utm_source=page&utm_x=%ff"
    curl(server, directory, "--data-binary", "@seven.png", f"@URL/encode?include=kl&{added}")
    for path in (
        "/models",
        "/models/mnist",
        "/info",
        "/metrics",
        "/sample",
        "/collections",
        "/health/ready",
        "/docs",
        "/openapi.json",
    ):
        curl(server, directory, f"@URL{path}?{added}")
    for name in ("__", "utm", "UTM_source", "_x"):
        for path in ("/models", "/sample"):
            answer = httpx.get(f"{server.url}{path}?{name}=1")
            assert (answer.status_code, name in answer.json()["detail"]) == (422, True), (path, name)


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
