"""python -m service: settings -> uvicorn. Exit status: 0 after SIGTERM, 1 when the service could not start."""

import dataclasses
import logging
import signal
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import uvicorn
from PIL import Image
from pydantic import ValidationError

from service.http.access.keys import KeysError, read_keys
from service.observe.logs import log_config
from service.server.connections import ConnectionBounds, ConnectionWatch
from service.server.metrics_directory import shared_directory
from service.server.tuning import leave, open_standard_descriptors, uncollected
from service.settings import (
    Settings,
    SettingsError,
    calm_blas,
    metrics_directory,
    refuse_unknown,
    share_metrics,
    trace_exporter,
)

if TYPE_CHECKING:
    from service.server.server import Server


def main() -> int:
    """Serve until a signal ends it."""
    open_standard_descriptors()
    calm_blas()
    try:
        refuse_unknown()
        trace_exporter()
        settings = Settings(_cli_parse_args=True)
        # a bad key ends the start here, with one line
        read_keys(settings.api_keys.get_secret_value(), settings.read_api_keys_file())
    except (SettingsError, KeysError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(map(str, problem["loc"])) or "settings"
            print(f"error: {where}: {problem['msg']}, found {problem['input']!r}", file=sys.stderr)
        return 2
    try:
        return _serve_alone(settings) if settings.workers == 1 else _serve_together(settings)
    except SystemExit as ended:  # by our handler below, or by uvicorn when it cannot listen
        return 1 if ended.code else 0


def _serve_alone(settings: Settings) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # the server has its own when it runs
        signal.signal(number, lambda *_: sys.exit(0))
    with uncollected():
        from service.app import create_app  # torch takes a second, which a bad setting need not wait for

    app = create_app(settings, on_failed_start=lambda: server.end(drain=False), start_decoders=True, traces=trace_exporter())
    server = _server(app, settings)
    server.run()
    return 1 if app.state.failure or not server.started else 0


def _serve_together(settings: Settings) -> int:
    from service.server.supervisor import Supervisor

    sockets = [uvicorn.Config(worker, **_options(settings, Counter())).bind_socket()]
    end_seconds = settings.drain_seconds + settings.shutdown_seconds
    make_server = "service.__main__:worker"
    with shared_directory() as directory:
        share_metrics(directory)
        return Supervisor(make_server, settings.workers, sockets, end_seconds, settings.heartbeat_seconds).run()


def worker() -> "Server":
    """The server of one of several processes; it has the environment and the arguments of the first."""
    with uncollected():
        from service.app import create_app

    settings = Settings(_cli_parse_args=True)
    app = create_app(
        settings, load_first=True, start_decoders=True, traces=trace_exporter(), shared_metrics=metrics_directory()
    )
    return _server(app, settings)


def _server(app: Any, settings: Settings) -> "Server":
    from service.app import is_alive
    from service.server.server import Server

    _be_quiet()
    config = uvicorn.Config(app, **_options(settings, app.state.cut_off))
    return Server(config, app.state, settings.drain_seconds, lambda: is_alive(app))


def _be_quiet() -> None:
    """Odd metadata of somebody's picture is no news; its size is checked by ourselves, before any pixel is decoded.

    Other warnings go the way of the log, where nobody waits for whoever reads it.
    """
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None


def _options(settings: Settings, cut_off: Counter[str]) -> dict[str, Any]:
    """Keyword arguments for uvicorn.Config. `cut_off` counts connections that are cut off, by reason."""
    names = (field.name for field in dataclasses.fields(ConnectionBounds))
    bounds = ConnectionBounds(**{name: getattr(settings, name) for name in names})
    return {
        "host": settings.host,
        "port": settings.port,
        "log_config": log_config(settings.log_format, settings.log_level, settings.access_log),
        "log_level": settings.log_level,
        "access_log": False,  # the observer's is the one
        "timeout_graceful_shutdown": max(1, round(settings.shutdown_seconds)),
        "server_header": False,
        "headers": [("x-content-type-options", "nosniff")],
        "http": ConnectionWatch(bounds, cut_off),
        "ws": "none",
    }


if __name__ == "__main__":
    leave(main())
