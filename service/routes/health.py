"""/health: is the process alive, and does it take requests."""

from fastapi import APIRouter
from starlette.requests import Request

from service.gate import DeviceLost
from service.routes.door import PROBLEMS, engine_of

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> dict[str, str]:
    """200 as long as the event loop turns."""
    return {"status": "live"}


@router.get("/ready", summary="The models are loaded and the device works", responses={503: PROBLEMS})
async def ready(request: Request) -> dict[str, str]:
    """200 once every model is warm on the device; 503 before, and when the device is lost."""
    device = engine_of(request).catalog.device
    if device.lost:
        raise DeviceLost(device.lost)
    return {"status": "ready"}
