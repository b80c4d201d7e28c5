"""/metrics: what is counted, as Prometheus reads it; and its publication where several processes answer for each other."""

import asyncio
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.http.registry import ANY_KEY
from service.observe.metrics import Family
from service.observe.request_record import RecordSinks
from service.observe.shared_metrics import SharedMetrics
from service.rest.parameters import refuse_parameters
from service.rest.registration import PROBLEMS, Router
from service.rest.routes import health

router = Router(tags=["service"])

# between two looks of a process at its own counts, where another process may be asked for them
PUBLISH_SECONDS = 1.0

EXAMPLE = '# TYPE vae_requests_total counter\nvae_requests_total{operation="encode",code="200"} 42.0\n'
CONTENT = {
    "text/plain": {"schema": {"type": "string"}, "example": EXAMPLE},
    "application/openmetrics-text": {"schema": {"type": "string"}},
}


@router.page(
    "/metrics",
    ANY_KEY,
    "metrics",
    operation_id="get_metrics",
    summary="Counts and times, for Prometheus",
    response_class=Response,
    responses={200: {"content": CONTENT}, 404: PROBLEMS, 422: PROBLEMS},
)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format, or as OpenMetrics if `Accept` asks for it; the sums of all workers."""
    refuse_parameters("/metrics", request.query_params)
    if request.app.state.sinks.metrics is None:
        raise HTTPException(404)
    families = await families_of(request.app)
    render = partial(_render, request.app, families, request.headers.get("accept", ""))
    body, media_type = await asyncio.to_thread(render)  # some milliseconds, which requests need not wait for
    return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})


async def families_of(app: FastAPI) -> list[Family]:
    """Return all metrics of this process. Raises AttributeError if metrics are off."""
    sinks: RecordSinks = app.state.sinks
    try:
        await health.ready(Request({"type": "http", "app": app}))
        ready = True
    except Exception:  # whatever it is that /health/ready would say
        ready = False
    service = app.state.service
    assert sinks.metrics is not None  # noqa: S101
    return sinks.metrics.families(None if service is None else service.pipeline.catalog, ready)


def _render(app: FastAPI, families: list[Family], accept: str) -> tuple[bytes, str]:
    from service.observe.prometheus import of_this_process, render  # importing prometheus-client takes 50 ms

    shared: SharedMetrics | None = app.state.shared_metrics
    if shared is None:
        return of_this_process(families, accept)
    _publish(shared, families)
    return render(shared.of_all(), accept)


async def publish(app: FastAPI) -> None:
    """Write the numbers for the other processes, again and again, until it is cancelled; and once more then."""
    shared: SharedMetrics = app.state.shared_metrics
    try:
        while True:
            _publish(shared, await families_of(app))
            await asyncio.sleep(PUBLISH_SECONDS)
    finally:
        _publish(shared, await families_of(app))
        shared.leave()


def _publish(shared: SharedMetrics, families: list[Family]) -> None:
    from service.observe.prometheus import process_families

    shared.publish([*families, *process_families()])
