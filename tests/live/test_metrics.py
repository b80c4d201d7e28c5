"""Metrics and logs from outside: two workers whose counts add up, also when one is killed; a log of JSON alone."""

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from service.environment import METRICS_DIRECTORY

from .server import Server, serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUESTS = 40


def scrape(server: Server) -> dict[str, float]:
    """Every sample, as the text has it."""
    text = httpx.get(f"{server.url}/metrics", timeout=60).raise_for_status().text
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> str:
    return name + json.dumps(labels, sort_keys=True)


def workers(server: Server) -> list[psutil.Process]:
    """The processes that serve."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # or a zombie, which is one
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_two_workers_add_up(models_dir: Path, pngs: list[bytes]) -> None:
    codes = key("vae_requests_total", operation="encode", code="200")
    loads = key("vae_model_loads_total", model="tiny-rgb", result="ok")
    variables = {"VAE_LOG_FORMAT": "json", "VAE_MODELS": "tiny-rgb"}
    with serving("--workers", "2", "--models-dir", str(models_dir), variables=variables) as server:
        server.poll(lambda: len(workers(server)) == 2 and scrape(server).get(loads, 0) == 2)
        directory = Path(workers(server)[0].environ()[METRICS_DIRECTORY])
        assert directory.stat().st_mode & 0o777 == 0o700
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for png in pngs[:REQUESTS]:  # each over a connection of its own, so that either worker may get it
            answer = httpx.post(f"{server.url}/encode?private=0", content=png, timeout=60)
            assert answer.status_code == 422
            httpx.post(f"{server.url}/encode", content=png, headers=headers, timeout=60).raise_for_status()
        wanted = {
            codes: REQUESTS,
            key("vae_requests_total", operation="encode", code="422"): REQUESTS,
            key("vae_request_seconds_count", operation="encode"): 2 * REQUESTS,
            key("vae_rows_total", model="tiny-rgb", lane="encode"): REQUESTS,
            key("vae_encoded_kl_nats_count", model="tiny-rgb"): REQUESTS,
            key("vae_encoded_kl_nats_bucket", model="tiny-rgb", le="+Inf"): REQUESTS,
        }
        server.poll(lambda: wanted.items() <= scrape(server).items())  # a worker publishes once a second
        found = scrape(server)
        assert found[key("vae_requests_in_flight")] >= 1
        assert found[key("vae_ready")] == 1
        killed = workers(server)[0].pid
        assert _has_gauges(directory, killed)
        os.kill(killed, signal.SIGKILL)
        server.poll(lambda: killed not in [one.pid for one in workers(server)])
        server.poll(lambda: bool(scrape(server)) and not _has_gauges(directory, killed))
        server.poll(lambda: scrape(server).get(loads, 0) == 3)  # another has come in its place
        assert scrape(server)[codes] == REQUESTS  # what the dead have counted stays
    assert not directory.exists()
    lines = [json.loads(line) for line in server.lines]
    assert {"uvicorn.error", "service.app", "service.access"} <= {line["logger"] for line in lines}
    access = [line for line in lines if line["logger"] == "service.access" and line["path"] == "/encode"]
    assert len(access) == 2 * REQUESTS
    assert {line["trace_id"] for line in access if line["status"] == 200} == {TRACE}
    assert all(re.fullmatch("[0-9a-f]{32}", line["request_id"]) for line in access)
    assert "private" not in server.log


def _has_gauges(directory: Path, pid: int) -> bool:
    """Return whether the file of a worker has gauges."""
    (path,) = directory.glob(f"{pid}-*.json")
    return any(family["kind"] == "gauge" for family in json.loads(path.read_bytes()))
