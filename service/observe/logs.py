"""Formats of the log: one JSON object per line for machines, or text for a terminal.

Imports nothing heavy, since the process that supervises the workers uses it too. Knows nothing of what is logged, nor of
how it is written.
"""

import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import orjson
from uvicorn.logging import DefaultFormatter

from service.observe.access_log import ACCESS, Access
from service.observe.printable import bounded, bounded_lines, one_line
from service.observe.trace_context import TraceContext

# What stands in a template for the values that differ from request to request. No field has this character.
ID, SECONDS = "\x7f", 987654.5
LogFormat = Literal["auto", "json", "text"]

# Fields that the log record of a request may have beside its message.
FIELDS = ("client", "method", "path", "status", "seconds", "model", "request_id", "trace_id", "span_id")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a JSON object with time, level, logger, message, the fields of the request, and the exception."""
        line: dict[str, Any] = {
            "time": _time(int(record.created * 1e3)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage()),
        }
        known = record.__dict__
        line |= {name: known[name] for name in FIELDS if name in known}
        if record.exc_info:
            line["exception"] = bounded_lines(self.formatException(record.exc_info))
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate from a file name, or a value that JSON has no type for
            return orjson.dumps({name: _writable(value) for name, value in line.items()}).decode()

    def format_access(self, access: Access) -> str:
        """Return the line of a request and its end, from a template: most requests differ in a few values only."""
        template = _template(access.client, access.method, access.path, access.status, access.model, access.trace)
        seconds, request_id = access.seconds, access.request_id
        return template % (_time(int(access.finished * 1e3)), 1e3 * seconds, request_id, seconds, request_id)


@lru_cache(maxsize=1000)
def _template(client: str, method: str, path: str, status: int, model: str, trace: TraceContext | None) -> str:
    """Return a line with places for the other values."""
    access = Access(0.0, client, method, path, status, SECONDS, ID, model, trace)
    line = {"time": ID, "level": "info", "logger": ACCESS, "message": access.message()} | access.fields()
    text = orjson.dumps(line).decode().replace("%", "%%").replace(ID, "%s")
    # Neither of these can be part of a path, which has no blanks and no quotes.
    text = text.replace(f" in {1e3 * SECONDS:.1f} ms", " in %.1f ms")
    return text.replace(f'"seconds":{SECONDS}', '"seconds":%.6f') + "\n"


@lru_cache(maxsize=16)  # Under load many lines have the same time.
def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1e3, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _writable(value: Any) -> Any:
    """Return a number as it is, and anything else as text without lone surrogates."""
    if isinstance(value, int | float):
        return value
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TextFormatter(DefaultFormatter):
    """Formats a record as one line of text, followed by the traceback if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line with control characters escaped, so that a message can neither end it nor control the terminal."""
        record.message = one_line(bounded(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback without what is too long in it."""
        return bounded_lines(super().formatException(ei))

    def format_access(self, access: Access) -> str:
        """Return the line of a request and its end."""
        return self.format(logging.LogRecord(ACCESS, logging.INFO, __file__, 0, "%s", (access.message(),), None)) + "\n"


def log_config(form: LogFormat, level: str, access_log: bool) -> dict[str, Any]:
    """Return a configuration for `logging.config.dictConfig`. All goes to stderr; `auto` is text if that is a terminal."""
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
        "root": {"handlers": ["default"], "level": "WARNING"},  # libraries
        "loggers": {
            "service": own,
            ACCESS: own if access_log else own | {"level": "CRITICAL"},
            "uvicorn": own,
            "uvicorn.error": {"level": level.upper()},
            "uvicorn.access": {"handlers": [], "propagate": False},  # its lines have the query, which may contain keys
        },
    }
