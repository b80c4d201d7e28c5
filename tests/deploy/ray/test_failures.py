"""Replicas and nodes that are killed, and replicas that come and go, under load."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import httpx
import psutil
import pytest

from tests.live.server import PATIENCE_SECONDS, ROOT

from .cluster import COLLECTION, Cluster, Load, two_nodes

pytestmark = pytest.mark.soak
CALLERS = 16
PICTURE = (ROOT / "examples" / "seven.png").read_bytes()
OPTIONS = ("--variable", "VAE_MODELS=mnist", "--variable", "VAE_ACCESS_LOG=false")


@contextmanager
def loaded(*options: str) -> Iterator[tuple[Cluster, Load]]:
    """A cluster with a collection, and callers who have not begun."""
    with two_nodes(*OPTIONS, *options) as cluster:
        httpx.put(f"{cluster.urls[0]}/collections/{COLLECTION}", timeout=PATIENCE_SECONDS).raise_for_status()
        yield cluster, Load(cluster.urls[0], PICTURE)


def wait_for(condition: Callable[[], bool], cluster: Cluster) -> None:
    """Until it holds."""
    give_up = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < give_up, cluster.log
        sleep(0.1)


def more_answers(load: Load, count: int, cluster: Cluster) -> None:
    """Until so many more requests were answered."""
    enough = load.answers + count
    wait_for(lambda: load.answers >= enough, cluster)


def stored(url: str) -> set[str]:
    """The ids in the collection."""
    found: set[str] = set()
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        page = httpx.get(f"{url}/collections/{COLLECTION}/items", params={"limit": 1000, **cursor}, timeout=PATIENCE_SECONDS)
        answer = page.raise_for_status().json()
        found |= {item["id"] for item in answer["items"]}
        cursor = {"cursor": answer["cursor"]} if answer["cursor"] else None
    return found


def test_a_killed_replica() -> None:
    with loaded() as (cluster, load):
        with load.by(CALLERS):
            more_answers(load, 500, cluster)
            killed = cluster.replicas()[0]
            killed.kill()
            wait_for(
                lambda: len(cluster.replicas()) == 2 and killed.pid not in [one.pid for one in cluster.replicas()], cluster
            )
            more_answers(load, 500, cluster)
        assert len(load.faults) <= CALLERS, load.faults
        assert load.acknowledged <= stored(load.url)


def test_a_replica_that_stands_still_is_replaced() -> None:
    with loaded() as (cluster, load):
        with load.by(CALLERS):
            more_answers(load, 500, cluster)
            still = cluster.replicas()[0]
            still.suspend()
            wait_for(
                lambda: len(cluster.replicas()) == 2 and still.pid not in [one.pid for one in cluster.replicas()], cluster
            )
            more_answers(load, 500, cluster)
        assert len(load.faults) <= CALLERS, load.faults
        assert load.acknowledged <= stored(load.url)


def test_a_killed_node() -> None:
    with loaded() as (cluster, load):
        with load.by(CALLERS):
            more_answers(load, 500, cluster)
            raylet = psutil.Process(cluster.raylets[1])
            for process in (*raylet.children(recursive=True), raylet):
                process.kill()
            more_answers(load, 2000, cluster)
            wait_for(lambda: len(cluster.replicas()) == 2, cluster)  # both on the first node
            more_answers(load, 500, cluster)
        assert len(load.faults) <= CALLERS, load.faults
        assert load.acknowledged <= stored(load.url)


def test_replicas_come_and_go_without_a_failed_request(tmp_path: Path) -> None:
    scaling = ("--replicas", "1", "--most-replicas", "4", "--target", "2", "--delay", "1")
    pushed = ("--variable", "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S=1")
    with loaded(*scaling, *pushed) as (cluster, load):
        with load.by(1):
            with load.by(CALLERS):
                wait_for(lambda: len(cluster.replicas()) == 4, cluster)
                more_answers(load, 1000, cluster)
            wait_for(lambda: len(cluster.replicas()) == 1, cluster)
            more_answers(load, 100, cluster)
        assert not load.faults
        assert load.acknowledged <= stored(load.url)
