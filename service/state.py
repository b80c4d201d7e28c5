"""What an application keeps while it runs: one dataclass, the same object for all who ask."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from service.http.access.guard import Access
from service.http.access.refusal_pace import RefusalPace
from service.http.body_memory import BodyMemory
from service.http.receive import DisconnectTimer
from service.http.registry import Registry
from service.inference.pipeline import Engine
from service.observe.seen import Sight
from service.observe.shared_metrics import SharedMetrics


@dataclass(slots=True)
class State:
    """The state of one application; `app.state` is an instance.

    `engine` is None before the models are loaded and after the end. `started` is set when loading has ended, well or not;
    `failure` then has the reason or is empty. `draining` is set by the server: not ready any more, though it serves.
    `refused` counts requests that were turned away: key, scope, rate, concurrency, memory, draining; `cut_off` connections
    that were ended before their requests were answered. `access` is None where there are no keys.
    """

    sight: Sight
    bodies: BodyMemory
    max_body_bytes: int
    heartbeat_seconds: float
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    refused: Counter[str]
    cut_off: Counter[str]
    access: Access | None
    registry: Registry
    routes: list[Any]  # Starlette's
    refusal_pace: RefusalPace
    engine: Engine | None = None
    failure: str = ""
    draining: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    disconnects: DisconnectTimer = field(default_factory=DisconnectTimer)
    shared_metrics: SharedMetrics | None = None
