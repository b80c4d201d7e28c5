"""python -m service: settings -> uvicorn. Exit status: 0 after SIGTERM, 1 when the service could not start."""

import copy
import dataclasses
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import uvicorn
import uvicorn.config
from PIL import Image
from pydantic import ValidationError

from service.keys import KeysError, read_keys
from service.protocol import Bounds, Watch
from service.settings import Settings, SettingsError, calm_blas, refuse_unknown


def main() -> int:
    """Serve until a signal ends it."""
    calm_blas()
    try:
        refuse_unknown()
        settings = Settings(_cli_parse_args=True)
        read_keys(settings.api_keys_file, settings.api_keys.get_secret_value())  # a bad one ends the start here, in one line
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
    from service.app import create_app, with_shortcut  # torch takes a second, which a bad setting need not wait for

    _be_quiet()
    app = create_app(settings, on_failed_start=lambda: signal.raise_signal(signal.SIGTERM))
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it serves, and raises the signal once more when it has shut down
        signal.signal(number, lambda *_: sys.exit(1 if app.state.failure else 0))
    uvicorn.run(with_shortcut(app), **_options(settings))
    return 0


def _serve_together(settings: Settings) -> int:
    from service.workers import supervise

    return supervise("service.__main__:worker", settings.workers, **_options(settings))


def worker() -> Callable[..., Any]:
    """The application of one of several processes; it has the environment and the arguments of the first."""
    from service.app import create_app, with_shortcut

    _be_quiet()
    return with_shortcut(create_app(Settings(_cli_parse_args=True), load_first=True))


def _be_quiet() -> None:
    """Odd metadata of somebody's picture is no news; its size is checked by ourselves, before any pixel is decoded."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None


def _options(settings: Settings) -> dict[str, Any]:
    """Of uvicorn."""
    log_config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log_config["loggers"]["service"] = {"handlers": ["default"], "level": settings.log_level.upper(), "propagate": False}
    names = (field.name for field in dataclasses.fields(Bounds))
    bounds = Bounds(**{name: getattr(settings, name) for name in names})
    return {
        "host": settings.host,
        "port": settings.port,
        "log_config": log_config,
        "log_level": settings.log_level,
        "access_log": settings.access_log,
        "timeout_graceful_shutdown": max(1, round(settings.drain_seconds)),
        "server_header": False,
        "headers": [("x-content-type-options", "nosniff")],
        "timeout_keep_alive": settings.keep_alive_seconds,
        "http": Watch(bounds),
        "ws": "none",
    }


if __name__ == "__main__":
    sys.exit(main())
