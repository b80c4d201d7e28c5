"""/health: is the process alive, does it take requests. One whose device is lost or stuck does neither: a new one helps."""

from typing import Any

from starlette.requests import Request

from service.http.registry import OPEN
from service.operations import health
from service.rest.model_schemas import Health
from service.rest.registration import PROBLEMS, Router, service_of

router = Router(prefix="/health", tags=["health"])


@router.page("/live", OPEN, "health", operation_id="is_live", summary="The process answers", responses={503: PROBLEMS})
async def live(request: Request) -> Health:
    """Answer 200 as long as the event loop turns and the device, once it is there, gets on with its work or has none."""
    check_device(request.app.state)
    return Health(status="live")


@router.page(
    "/ready",
    OPEN,
    "health",
    operation_id="is_ready",
    summary="The models are loaded and the device works",
    responses={503: PROBLEMS},
)
async def ready(request: Request) -> Health:
    """Answer 200 once every model is warm; 503 before, when the device is lost or stuck, when the store's file was deleted or
    replaced, and from SIGTERM on."""
    service = service_of(request)
    health.check_ready(service, request.app.state.heartbeat_seconds, request.app.state.draining)
    return Health(status="ready")


def check_device(state: Any) -> None:
    """Raise DeviceLost or DeviceStuck if no batch can run any more. Before the models are loaded nothing is raised."""
    if state.service is not None:
        health.check_device(state.service, state.heartbeat_seconds)
