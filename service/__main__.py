"""python -m service: settings -> uvicorn. Exit status: 0 after SIGTERM, 1 when the service could not start."""

import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import uvicorn
from PIL import Image
from pydantic import ValidationError

from service.logs import log_config
from service.settings import (
    Settings,
    SettingsError,
    calm_blas,
    metrics_directory,
    refuse_unknown,
    share_metrics,
    trace_exporter,
)
from service.shared_directory import shared_directory


def main() -> int:
    """Serve until a signal ends it."""
    calm_blas()
    try:
        refuse_unknown()
        trace_exporter()
        settings = Settings(_cli_parse_args=True)
    except SettingsError as error:
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
    from service.app import create_app, with_shortcut  # torch takes a second, which a bad setting need not wait for

    _be_quiet()
    app = create_app(settings, on_failed_start=lambda: signal.raise_signal(signal.SIGTERM), traces=trace_exporter())
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it serves, and raises the signal once more when it has shut down
        signal.signal(number, lambda *_: sys.exit(1 if app.state.failure else 0))
    uvicorn.run(with_shortcut(app), **_options(settings))
    return 0


def _serve_together(settings: Settings) -> int:
    from service.workers import supervise

    with shared_directory() as directory:
        share_metrics(directory)
        return supervise("service.__main__:worker", settings.workers, **_options(settings))


def worker() -> Callable[..., Any]:
    """The application of one of several processes; it has the environment and the arguments of the first."""
    from service.app import create_app, with_shortcut

    _be_quiet()
    settings = Settings(_cli_parse_args=True)
    app = create_app(settings, load_first=True, traces=trace_exporter(), shared_metrics=metrics_directory())
    return with_shortcut(app)


def _be_quiet() -> None:
    """Odd metadata of somebody's picture is no news; its size is checked by ourselves, before any pixel is decoded."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None


def _options(settings: Settings) -> dict[str, Any]:
    """Of uvicorn."""
    return {
        "host": settings.host,
        "port": settings.port,
        "log_config": log_config(settings.log_format, settings.log_level, settings.access_log),
        "log_level": settings.log_level,
        "access_log": False,  # the observer's is the one
        "timeout_graceful_shutdown": max(1, round(settings.drain_seconds)),
        "server_header": False,
    }


if __name__ == "__main__":
    sys.exit(main())
