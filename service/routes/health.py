"""/health: is the process alive, does it take requests. One whose device is lost does neither: only a new one helps."""

from fastapi import APIRouter
from starlette.requests import Request

from service.gate import DeviceLost
from service.routes.door import PROBLEMS, engine_of

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers", responses={503: PROBLEMS})
async def live(request: Request) -> dict[str, str]:
    """200 as long as the event loop turns and the device, once it is there, is not lost."""
    if request.app.state.engine is not None:
        check_device(request)
    return {"status": "live"}


@router.get("/ready", summary="The models are loaded and the device works", responses={503: PROBLEMS})
async def ready(request: Request) -> dict[str, str]:
    """200 once every model is warm on the device; 503 before, and when the device is lost."""
    check_device(request)
    return {"status": "ready"}


def check_device(request: Request) -> None:
    """Raises Starting, DeviceLost."""
    lost = engine_of(request).catalog.device.lost
    if lost:
        raise DeviceLost(lost)
