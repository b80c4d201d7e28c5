"""Java's default client, which offers HTTP/2 with its first request. Needs a JDK: apt-get install default-jdk-headless."""

import subprocess
from pathlib import Path

import httpx
import pytest

from .server import Server


@pytest.mark.soak
def test_java_s_own_client(server: Server, client: httpx.Client, tmp_path: Path, pngs: list[bytes]) -> None:
    (tmp_path / "seven.png").write_bytes(pngs[0])
    words = ["java", str(Path(__file__).parent / "Client.java"), f"{server.url}/encode", str(tmp_path / "seven.png")]
    found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    assert found.splitlines() == [f"200 HTTP_1_1 {client.post('/encode', content=pngs[0]).text}"] * 3
