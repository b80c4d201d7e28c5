"""How the log looks: an object of JSON a line, for machines, or words, for a terminal.

Knows nothing of what is logged, nor of how it is written. Its own module, which needs nothing heavy: the process that
supervises workers logs as well.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from uvicorn.logging import DefaultFormatter

from service.observe.printable import one_line

LogFormat = Literal["auto", "json", "text"]

# what the record of a request may have beside its message
FIELDS = ("client", "method", "path", "status", "seconds", "model", "request_id", "trace_id", "span_id")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """time, level, logger, message; fields of the request; exception."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = record.__dict__
        line |= {name: known[name] for name in FIELDS if name in known}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # half of a surrogate pair from a file name, or a value that is not JSON
            return orjson.dumps({name: _writable(value) for name, value in line.items()}).decode()


def _writable(value: Any) -> Any:
    """A number as it is, anything else as text without halves of surrogate pairs."""
    if isinstance(value, int | float):
        return value
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TextFormatter(DefaultFormatter):
    """A record as words, in one line but for a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, in which nobody's words end it or steer the terminal."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


def log_config(form: LogFormat, level: str, access_log: bool) -> dict[str, Any]:
    """For `logging.config.dictConfig`, all on stderr. `auto`: text where that is a terminal."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatter = {
        "json": {"()": "service.observe.logs.JsonFormatter"},
        "text": {"()": "service.observe.logs.TextFormatter", "fmt": "%(levelprefix)s %(message)s", "use_colors": None},
    }[form]
    own = {"handlers": ["default"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": formatter},
        "handlers": {
            "default": {"class": "service.observe.log_writer.LogWriter", "formatter": "default", "stream": "ext://sys.stderr"}
        },
        "root": {"handlers": ["default"], "level": "WARNING"},  # libraries, which have only problems to tell
        "loggers": {
            "service": own,
            "service.access": own if access_log else own | {"level": "CRITICAL"},
            "uvicorn": own,
            "uvicorn.error": {"level": level.upper()},
            "uvicorn.access": {"handlers": [], "propagate": False},  # it would log queries, and there may be keys in them
        },
    }
