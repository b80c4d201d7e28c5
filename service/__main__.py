"""Command `python -m service` and console script `vae-service`: reads the settings and runs the service.

The exit status is 0 after SIGTERM or Ctrl-C, 1 if the service could not start, and 2 if a setting is wrong.
"""

import dataclasses
import logging
import signal
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from pydantic import ValidationError

from models.program import program, version_line
from service.environment import SettingsError, calm_blas, metrics_directory, of_kubernetes, share_metrics, trace_exporter
from service.flags import explain, read_settings
from service.http.access.keys import KeysError, read_keys
from service.observe.logs import log_config
from service.server.connection_bounds import ConnectionBounds
from service.server.connections import ConnectionWatch
from service.server.listeners import CannotListen, SocketFiles, describe, listen
from service.server.metrics_directory import shared_directory
from service.server.tuning import leave, log_warnings, open_standard_descriptors, uncollected
from service.settings import Settings, refuse_unknown, require_packages
from service.store_addresses import check_store_addresses

if TYPE_CHECKING:
    from service.http.hot_path import HotPath
    from service.server.server import Server

log = logging.getLogger("service")


def run() -> NoReturn:
    """Run the service, and end the process with its exit status."""
    leave(main())


def main() -> int:
    """Run the service until a signal ends it. Return the exit status."""
    open_standard_descriptors()
    calm_blas()
    if "--version" in sys.argv[1:]:
        print(version_line())
        return 0
    try:
        refuse_unknown()
        trace_exporter()
        settings = read_settings(program("service"))
        require_packages(settings)
        check_store_addresses(settings)
        port = settings.port_to_listen_on()
        # Check the API keys here, so that a bad one ends the start with one line.
        read_keys(settings.api_keys.get_secret_value(), settings.read_api_keys_file())
    except (SettingsError, KeysError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValidationError as error:
        for reason in explain(error):
            print(f"error: {reason}", file=sys.stderr)
        return 2
    try:
        sockets = listen(settings.host, port)
    except CannotListen as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    files = SocketFiles(sockets)
    try:
        return _serve_alone(settings, sockets) if settings.workers == 1 else _serve_together(settings, sockets)
    except SystemExit as ended:  # raised by our handler below, or by uvicorn if it cannot start
        return 1 if ended.code else 0
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        files.remove()


def _serve_alone(settings: Settings, sockets: list[socket.socket]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # until the server sets its own handlers
        signal.signal(number, lambda *_: sys.exit(0))
    with uncollected():
        from service.app import create_app  # imported late: torch takes a second, and errors in settings should come at once

    app = create_app(settings, on_failed_start=lambda: server.end(drain=False), start_decoders=True, traces=trace_exporter())
    server = _server(app, settings)
    _tell_ignored()
    server.run(sockets)
    return 1 if app.state.failure or not server.started else 0


def _serve_together(settings: Settings, sockets: list[socket.socket]) -> int:
    from service.server.supervisor import Supervisor

    uvicorn.Config(worker, **_options(settings, Counter()))  # sets up the log
    log.info("listening on %s", describe(sockets))
    _tell_ignored()
    end_seconds = settings.drain_seconds + settings.shutdown_seconds
    make_server = "service.__main__:worker"
    with shared_directory() as directory:
        share_metrics(directory)
        return Supervisor(make_server, settings.workers, sockets, end_seconds, settings.heartbeat_seconds).run()


def _tell_ignored() -> None:
    """Log which variables look like settings but are those of Kubernetes."""
    if names := of_kubernetes():
        log.info("ignored variables that Kubernetes sets for its services: %s", ", ".join(names))


def worker() -> "Server":
    """Make the server of one of several workers, which have the environment and the arguments of the first process."""
    with uncollected():
        from service.app import create_app

    try:
        settings = Settings(_cli_parse_args=True)
        app = create_app(
            settings,
            on_failed_start=lambda: leave(1),  # at once: uvicorn would log a traceback, and the reason is in the log already
            load_first=True,
            start_decoders=True,
            traces=trace_exporter(),
            shared_metrics=metrics_directory(),
        )
    except (SettingsError, KeysError) as error:  # The file of keys may have changed since the first process read it.
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    return _server(app, settings)


def _server(app: Any, settings: Settings) -> "Server":
    from service.app import is_alive
    from service.server.forwarded_headers import ForwardedHeaders
    from service.server.server import Server

    log_warnings()
    config = uvicorn.Config(app.middleware_stack, **_options(settings, app.state.cut_off, app.state.hot_path))
    config.app = ForwardedHeaders(app.middleware_stack, settings.trusted_proxies)
    return Server(config, app.state, settings.drain_seconds, lambda: is_alive(app))


def _options(settings: Settings, cut_off: Counter[str], hot_path: "HotPath | None" = None) -> dict[str, Any]:
    """Return keyword arguments for uvicorn.Config. `cut_off` counts connections that are closed early, by reason."""
    names = (field.name for field in dataclasses.fields(ConnectionBounds))
    bounds = ConnectionBounds(**{name: getattr(settings, name) for name in names})
    return {
        "log_config": log_config(settings.log_format, settings.log_level, settings.access_log),
        "log_level": settings.log_level,
        "interface": "asgi3",
        "proxy_headers": False,  # ForwardedHeaders reads them
        "access_log": False,  # the observer writes the access log
        "timeout_graceful_shutdown": max(1, round(settings.shutdown_seconds)),
        "server_header": False,
        "headers": [("x-content-type-options", "nosniff")],
        "http": ConnectionWatch(bounds, cut_off, hot_path),
        "ws": "none",
    }


if __name__ == "__main__":
    run()
