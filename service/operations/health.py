"""Whether the service works, and whether it takes requests. Knows nothing of HTTP."""

from service.engine.errors import Closed, DeviceLost, DeviceStuck
from service.operations.service import Service


def check_device(service: Service, heartbeat_seconds: float) -> None:
    """Raise DeviceLost or DeviceStuck if no batch can run any more: a new process would help."""
    device = service.pipeline.catalog.device
    if device.lost:
        raise DeviceLost(device.lost)
    if device.seconds_without_beat > heartbeat_seconds:
        raise DeviceStuck(device.seconds_without_beat)


def check_ready(service: Service, heartbeat_seconds: float, draining: bool) -> None:
    """Raise DeviceLost, DeviceStuck, StoreUnusable or Closed if requests should go elsewhere."""
    check_device(service, heartbeat_seconds)
    service.store.store.check()
    if draining:
        raise Closed("the service is shutting down: it still answers, but send new requests elsewhere")
