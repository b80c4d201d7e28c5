"""A pod ends under load as Kubernetes ends it: no request fails, nothing that was stored is lost, and nobody has to kill it.

The kubelet and the balancer are played here, as slow as the manifests allow: only failed readiness probes take a pod out of
the service, and each connection goes to one pod, as kube-proxy does it. Pods are processes of this machine.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.live.server import PATIENCE_SECONDS, ROOT, Server, command
from tests.service.store.postgres_server import Postgres

from .programs import KUBERNETES, Object, containers, kustomized, objects, only, variables

pytestmark = pytest.mark.soak

CALLERS = 24
KEY = "key-of-the-callers-of-this-test-and-of-nobody-else"
SEVEN = (ROOT / "examples" / "seven.png").read_bytes()
SOON_SECONDS = 2.0  # of load before and after


class Kubelet:
    """It probes a pod, and ends it. `serving` has the addresses to which the service leads now."""

    def __init__(self, probe: Object, grace_seconds: float, serving: list[str]) -> None:
        self.probe, self.grace_seconds, self.serving = probe, grace_seconds, serving
        self.answered_unready = 0
        self.answers_before = 0  # that the pod had given when it was told to end

    async def end(self, pod: Server, answers: Counter[str]) -> float:
        """Send SIGTERM, take the pod out of the service when its probes have failed, and return how long it took to end."""
        self.answers_before = answers[pod.url]
        pod.terminate()
        begin, failed, last = time.monotonic(), 0, 0
        async with httpx.AsyncClient() as client:
            while pod.process.poll() is None:
                assert time.monotonic() - begin < self.grace_seconds, "it would be killed now"
                await asyncio.sleep(0.05)
                if time.monotonic() - begin < (last + 1) * self.probe["periodSeconds"]:
                    continue
                last += 1
                ready = 503
                try:
                    path = self.probe["httpGet"]["path"]
                    ready = (await client.get(pod.url + path, timeout=self.probe["timeoutSeconds"])).status_code
                    self.answered_unready += ready == 503
                except httpx.HTTPError:
                    assert pod.url not in self.serving, "its port closed before the balancer knew"
                failed = 0 if ready == 200 else failed + 1
                if failed == self.probe["failureThreshold"] and pod.url in self.serving:
                    self.serving.remove(pod.url)
        return time.monotonic() - begin


class Load:
    """Callers with connections that they keep until they are told to close them, as clients and ingress controllers do."""

    def __init__(self, serving: list[str]) -> None:
        self.serving, self.answers, self.failures = serving, Counter[str](), Counter[str]()
        self.stored: list[str] = []
        self.ended = False

    async def call(self, number: int) -> None:
        """Ask one thing after the other."""
        chance, client, url = random.Random(number), None, ""
        for turn in range(1 << 30):
            if self.ended:
                break
            if client is None:
                url = chance.choice(self.serving)
                client = httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}, timeout=PATIENCE_SECONDS)
            id = f"{number}-{turn}"
            item = json.dumps({"items": [{"id": id, "mu": [0.5] * 20}]}).encode()
            method, path, body = chance.choice(
                [
                    ("POST", "/encode", SEVEN),
                    ("GET", "/sample?n=4&seed=7&format=png", b""),
                    ("POST", "/collections/all/items", item),
                    ("POST", "/collections/all/search?k=3", SEVEN),
                ]
            )
            try:
                answer = await client.request(method, path, content=body)
            except httpx.HTTPError as error:
                self.failures[f"{path}: {error!r}"] += 1
                await client.aclose()
                client = None
                continue
            if not answer.is_success:
                self.failures[f"{path}: {answer.status_code} {answer.text[:200]}"] += 1
            elif body is item:
                self.stored.append(id)
            self.answers[url] += 1
            if answer.headers.get("connection") == "close":
                await client.aclose()
                client = None
        if client is not None:
            await client.aclose()


def test_the_image_runs_the_command_that_is_tested() -> None:
    """The manifests leave it to the image."""
    (service,) = containers(objects(kustomized(KUBERNETES / "overlays" / "postgres")))
    assert {"command", "args"}.isdisjoint(service)
    (words,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text().rpartition("AS serve")[2], re.MULTILINE)
    assert json.loads(words) == ["python", *command()[1:]]


async def test_no_request_fails_when_a_pod_ends(tmp_path: Path, postgres: Postgres) -> None:
    made = objects(kustomized(KUBERNETES / "overlays" / "postgres"))
    spec = only("Deployment", made)["spec"]["template"]["spec"]
    (service,) = containers(made)
    assert "lifecycle" not in service  # a preStop hook would come before SIGTERM
    (tmp_path / "url").write_text(postgres.create("ending"))
    (tmp_path / "keys").write_text(f"callers infer,store {KEY}\n")
    settings = variables(made) | {
        "VAE_STORE_FILE": str(tmp_path / "url"),
        "VAE_API_KEYS_FILE": str(tmp_path / "keys"),
        "VAE_HOST": "127.0.0.1",
        "VAE_MODELS": "mnist",
    }
    drain = settings["VAE_DRAIN_SECONDS"]
    pods = [Server("--drain-seconds", drain, variables=settings) for _ in range(2)]
    try:
        for pod in pods:
            pod.wait_until_ready()
        serving = [pod.url for pod in pods]
        load, kubelet = Load(serving), Kubelet(service["readinessProbe"], spec["terminationGracePeriodSeconds"], serving)
        client = httpx.AsyncClient(base_url=pods[1].url, headers={"x-api-key": KEY}, timeout=PATIENCE_SECONDS)
        (await client.put("/collections/all")).raise_for_status()
        callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]
        await asyncio.sleep(SOON_SECONDS)
        took = await kubelet.end(pods[0], load.answers)
        await asyncio.sleep(SOON_SECONDS)
        load.ended = True
        await asyncio.gather(*callers)
        assert not load.failures, (load.answers, load.failures.most_common(5))
        assert pods[0].wait() == 0, pods[0].log
        assert kubelet.answered_unready > 0
        assert float(drain) <= took < float(drain) + float(settings["VAE_SHUTDOWN_SECONDS"])
        assert load.answers[pods[0].url] > kubelet.answers_before > 0  # it went on serving
        answer = (await client.get("/collections/all")).raise_for_status()
        assert answer.json()["count"] == len(load.stored) > CALLERS
        await client.aclose()
    finally:
        for pod in pods:
            pod.kill()
