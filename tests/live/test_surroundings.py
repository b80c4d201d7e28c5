"""Where the service runs: in a pod among services of similar names, on IPv4, IPv6 and unix sockets, behind nginx."""

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import torch

import models

from .server import PATIENCE_SECONDS, Server, serving

# what Kubernetes sets for the services vae, vae-api, vae-models, vae-store and vae-workers
POD = {
    name: value
    for service, port in (("VAE", 8000), ("VAE_API", 80), ("VAE_MODELS", 8001), ("VAE_STORE", 5432), ("VAE_WORKERS", 8002))
    for name, value in {
        f"{service}_SERVICE_HOST": "10.96.0.17",
        f"{service}_SERVICE_PORT": str(port),
        f"{service}_SERVICE_PORT_HTTP": str(port),
        f"{service}_PORT": f"tcp://10.96.0.17:{port}",
        f"{service}_PORT_{port}_TCP": f"tcp://10.96.0.17:{port}",
        f"{service}_PORT_{port}_TCP_PROTO": "tcp",
        f"{service}_PORT_{port}_TCP_PORT": str(port),
        f"{service}_PORT_{port}_TCP_ADDR": "10.96.0.17",
    }.items()
}
has_ipv6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one small model, `tiny`."""
    directory = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models.save(directory / "tiny", models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [8]})))
    return directory


@contextmanager
def through(path: Path) -> Iterator[httpx.Client]:
    """A client that uses a unix socket."""
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=PATIENCE_SECONDS) as client:
        yield client


def logged_callers(server: Server, path: str, count: int) -> set[str]:
    """The callers' addresses in the access log, once it has so many lines for a path."""
    server.poll(lambda: len([line for line in server.lines if f'"GET {path}"' in line]) >= count)
    return {line.split(" - ")[0].split()[-1] for line in server.lines if f'"GET {path}"' in line}


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
def test_a_pod_with_services_of_similar_names(tiny_dir: Path, workers: str) -> None:
    variables = {**POD, "VAE_MODELS_DIR": str(tiny_dir)}
    with serving("--host", "::", "--workers", workers, variables=variables) as server:
        (line,) = [line for line in server.lines if "ignored variables that Kubernetes sets" in line]
        assert all(name in line.replace(",", "").split() for name in POD)
        port = httpx.URL(server.url).port
        hosts = ["127.0.0.1", "[::1]"] if has_ipv6 else ["127.0.0.1"]
        for host in hosts:
            assert httpx.get(f"http://{host}:{port}/sample?n=1&seed=1", timeout=PATIENCE_SECONDS).status_code == 200
        # IPv4 callers have IPv4 addresses, not ::ffff:127.0.0.1
        assert logged_callers(server, "/sample", len(hosts)) == {host.strip("[]") for host in hosts}


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.soak)])
def test_a_unix_socket(tiny_dir: Path, tmp_path: Path, workers: str) -> None:
    path = tmp_path / "vae.sock"
    with socket.socket(socket.AF_UNIX) as dead:  # as a process leaves it that was killed
        dead.bind(str(path))
    arguments = ("--models-dir", str(tiny_dir), "--workers", workers)
    with serving("--host", f"127.0.0.1,unix:{path}", *arguments) as server, through(path) as client:
        assert path.stat().st_mode & 0o777 == 0o666
        of_proxy = {"x-forwarded-for": "203.0.113.7"}
        assert (
            client.get("/sample?n=1&seed=1", headers=of_proxy).content == httpx.get(f"{server.url}/sample?n=1&seed=1").content
        )
        assert logged_callers(server, "/sample", 2) == {"203.0.113.7", "127.0.0.1"}
        second = Server("--host", f"unix:{path}", *arguments)
        assert second.wait() == 1
        assert second.log == f"error: cannot listen on unix:{path}: another process listens there"
        assert client.get("/health/ready").status_code == 200
    assert not path.exists()


def test_the_socket_of_another_process_stays(tiny_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "vae.sock"
    with serving("--host", f"127.0.0.1,unix:{path}", "--models-dir", str(tiny_dir)) as server:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            server.terminate()
            assert server.wait() == 0
            assert path.exists()


def test_a_start_that_is_interrupted_leaves_no_socket(tiny_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "vae.sock"
    server = Server("--host", f"unix:{path}", "--models-dir", str(tiny_dir), anew=True)
    try:
        server.poll(path.exists)
        server.process.send_signal(signal.SIGINT)
        server.wait()
    finally:
        server.kill()
    assert not path.exists()


NGINX = """
pid {directory}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{directory}/nginx.sock;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $http_caller;
        proxy_http_version 1.1;
        location /vae/ {{ proxy_pass {strips}/; }}
        location /whole/vae/ {{ rewrite ^/whole(/.*)$ $1 break; proxy_pass {strips}; }}
    }}
}}
"""


@contextmanager
def nginx(directory: Path, url: str) -> Iterator[httpx.Client]:
    """nginx before a service: it removes /vae, but not below /whole, which stands for a proxy that removes nothing."""
    written = directory / "nginx.conf"
    written.write_text("user root;\n" + NGINX.format(directory=directory, strips=url))
    process = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(written), "-g", "daemon off;"])
    try:
        while not (directory / "nginx.sock").exists():
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"nginx ended with {process.wait(timeout=0.01)}")
        with through(directory / "nginx.sock") as client:
            yield client
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx: apt-get install nginx-light")
def test_nginx_with_a_path(tiny_dir: Path, tmp_path: Path) -> None:
    variables = {"VAE_ROOT_PATH": "/vae", "VAE_MODELS_DIR": str(tiny_dir)}
    with serving(variables=variables) as server, nginx(tmp_path, server.url) as client:
        for start in ("http://localhost/vae", "http://localhost/whole/vae"):
            outside = "http://localhost/vae"  # what the caller's address bar shows
            answer = client.get(f"{start}/", headers={"caller": "203.0.113.7"})
            assert (answer.status_code, answer.headers["location"]) == (307, "/vae/docs")
            page = client.get(f"{start}/docs").raise_for_status()
            for link in ("static-offline-docs/swagger-ui-bundle.js", "static-offline-docs/swagger-ui.css", "openapi.json"):
                assert link in page.text
                client.get(str(httpx.URL(f"{start}/docs").join(link))).raise_for_status()
            led = client.get(f"{start}/", headers={"caller": "203.0.113.7", "accept": "text/html"})
            assert (led.status_code, led.headers["location"]) == (307, "/vae/explore")
            links = re.findall(r'(?:href|src)="(.+?)"', client.get(f"{start}/explore").raise_for_status().text)
            assert {"explore/main.js", "explore/style.css"} <= set(links)
            for link in links:
                client.get(str(httpx.URL(f"{start}/explore").join(link))).raise_for_status()
            assert client.get(f"{start}/openapi.json").json()["servers"] == [{"url": "/vae"}]
            for path in ("/models/tiny", "/sample?n=1&seed=3", "/health/ready", "/metrics"):
                client.get(start + path).raise_for_status()
            short = client.get(f"{start}/models/tiny/")
            assert httpx.URL(f"{outside}/models/tiny/").join(short.headers["location"]) == f"{outside}/models/tiny"
            assert client.get(f"{start}/nothing").json()["detail"].startswith("there is no endpoint at /vae/nothing")
        assert logged_callers(server, "/", 1) == {"203.0.113.7"}
        counts = client.get("/vae/metrics").text
        assert 'vae_requests_total{code="200",operation="sample"} 2' in counts
