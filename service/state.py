"""The state of a running application, in one typed dataclass."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from service.http.access.guard import Access
from service.http.access.refusal_pace import RefusalPace
from service.http.body_memory import BodyMemory
from service.http.hot_path import HotPath
from service.http.receive import DisconnectTimer
from service.http.registry import Registry
from service.observe.request_record import RecordSinks
from service.observe.shared_metrics import SharedMetrics
from service.operations.service import Service


@dataclass(slots=True)
class State:
    """The state of one application. `app.state` is an instance.

    `service` is None until the models are loaded, and again after shutdown. `started` is set when loading has succeeded or
    failed; `failure` is the reason if it failed, else empty. The server sets `draining` at shutdown: /health/ready then
    answers 503, while requests are still served. `refused` counts refused requests by reason: key, scope, rate, concurrency,
    memory, draining. `cut_off` counts connections that the server closed before their requests were answered. `access` is
    None if there are no API keys.
    """

    sinks: RecordSinks
    bodies: BodyMemory
    max_body_bytes: int
    heartbeat_seconds: float
    refused: Counter[str]
    cut_off: Counter[str]
    access: Access | None
    registry: Registry
    routes: list[Any]  # Starlette routes
    refusal_pace: RefusalPace
    service: Service | None = None
    failure: str = ""
    draining: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    disconnects: DisconnectTimer = field(default_factory=DisconnectTimer)
    shared_metrics: SharedMetrics | None = None
    hot_path: HotPath | None = None
