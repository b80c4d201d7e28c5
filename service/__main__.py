"""python -m service: settings -> uvicorn. Exit status: 0 after SIGTERM, 1 when the service could not start."""

import copy
import signal
import sys
import warnings

import uvicorn
import uvicorn.config
from PIL import Image
from pydantic import ValidationError

from service.app import create_app, with_shortcut
from service.settings import Settings, SettingsError, refuse_unknown


def main() -> int:
    """Serve until a signal ends it."""
    try:
        refuse_unknown()
        settings = Settings(_cli_parse_args=True)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(map(str, problem["loc"])) or "settings"
            print(f"error: {where}: {problem['msg']}, found {problem['input']!r}", file=sys.stderr)
        return 2
    # odd metadata of somebody's picture is no news; its size is checked by ourselves, before any pixel is decoded
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None
    app = create_app(settings, on_failed_start=lambda: signal.raise_signal(signal.SIGTERM))
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn has its own handlers while it serves, and raises the signal once more when it has shut down
        signal.signal(number, lambda *_: sys.exit(1 if app.state.failure else 0))
    log_config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log_config["loggers"]["service"] = {"handlers": ["default"], "level": settings.log_level.upper(), "propagate": False}
    try:
        uvicorn.run(
            with_shortcut(app),
            host=settings.host,
            port=settings.port,
            log_config=log_config,
            log_level=settings.log_level,
            access_log=settings.access_log,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            server_header=False,
        )
    except SystemExit as ended:  # by our handler above, or by uvicorn when it cannot listen
        return 1 if ended.code else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
