"""The log: a line is one object of JSON, or words; of a request what helps to find it, and nothing of what it brought."""

import json
import logging
import logging.config
import sys
from typing import Any

import pytest

from service.observe import access_log
from service.observe.access_log import Access
from service.observe.log_writer import LogWriter
from service.observe.logs import JsonFormatter, LogFormat, TextFormatter, log_config
from service.observe.trace_context import TraceContext


def record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("x").makeRecord("service.x", logging.WARNING, "x.py", 1, message, arguments, None, extra=extra)


def test_a_record_is_one_line_of_json() -> None:
    line = JsonFormatter().format(record("two\nlines of %s", "é", request_id="abc", status=200, picture="secret"))
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning", "logger": "service.x", "message": "two\nlines of é", "request_id": "abc", "status": 200,
    }  # fmt: skip


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert json.loads(JsonFormatter().format(record("%s", "\udce9")))["message"] == "\ufffd"


def test_words_are_one_line_and_do_not_steer_the_terminal() -> None:
    line = TextFormatter("%(levelprefix)s %(message)s", use_colors=False).format(record("%s", "a\nERROR: \x1b[2J \udce9 é"))
    assert line.split(maxsplit=1) == ["WARNING:", "a\\nERROR: \\x1b[2J \\udce9 é"]


def test_an_exception_is_in_its_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        one = record("failed")
        one.exc_info = sys.exc_info()
    found = json.loads(JsonFormatter().format(one))
    assert "Traceback" in found["exception"]
    assert "ValueError: why" in found["exception"]


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "terminal", "json_is_chosen"),
    [("auto", False, True), ("auto", True, False), ("json", True, True), ("text", False, False)],
)
def test_auto_is_text_on_a_terminal_only(
    form: LogFormat, terminal: bool, json_is_chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    chosen = log_config(form, "info", True)["formatters"]["default"]["()"]
    assert (chosen == "service.observe.logs.JsonFormatter") == json_is_chosen


@pytest.mark.parametrize("access_log", [False, True])
def test_all_loggers_share_the_handler_and_queries_are_in_none(access_log: bool) -> None:
    config = log_config("json", "warning", access_log)
    assert config["loggers"]["uvicorn.access"] == {"handlers": [], "propagate": False}
    for name in ("service", "uvicorn", "service.access"):
        assert config["loggers"][name]["handlers"] == ["default"]
    assert config["root"]["handlers"] == ["default"]
    assert config["loggers"]["service"]["level"] == "WARNING"


@pytest.mark.parametrize(
    "path", ["/encode", "/collections/a%b/items/50%25", '/"x" in 987654500.0 ms', '/a"seconds":987654.5', "/\x7f"]
)
@pytest.mark.parametrize("trace", [None, TraceContext("1" * 32, "2" * 16, True)])
def test_a_request_has_the_same_line_with_and_without_a_record(path: str, trace: TraceContext | None) -> None:
    for model, seconds in (("mnist", 0.0123456789), ("", 987654.5), ("m%s", 5e-5)):
        access = Access(1_700_000_000.5, "::1%eth0", "POST", path, 200, seconds, "id-%s", model, trace)
        one = logging.getLogger("x").makeRecord(
            "service.access", logging.INFO, "", 1, "%s", (access.message(),), None, extra=access.fields()
        )
        one.created = access.finished
        assert json.loads(JsonFormatter().format_access(access)) == json.loads(JsonFormatter().format(one))
        words = TextFormatter("%(levelprefix)s %(message)s", use_colors=False)
        assert words.format_access(access) == words.format(one) + "\n"


def test_the_access_log_goes_to_the_writer_or_to_whoever_listens(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, writer = logging.getLogger("service.access"), LogWriter(sys.__stderr__)
    writer.setFormatter(JsonFormatter())
    monkeypatch.setattr(log, "propagate", False)
    caplog.set_level("INFO", log.name)
    monkeypatch.setattr(log, "handlers", [writer])
    access_log.write(("127.0.0.1", 5), "GET", "/info", 200, 0.001, "first")
    monkeypatch.setattr(log, "handlers", [writer, caplog.handler])
    access_log.write(None, "GET", "/info", 200, 0.001, "second")
    writer.flush()
    assert [json.loads(line)["request_id"] for line in capfd.readouterr().err.splitlines()] == ["first", "second"]
    assert [record.__dict__["request_id"] for record in caplog.records] == ["second"]


@pytest.mark.parametrize("text", ["y" * 3_000_000, "y\n" * 1_000_000])
def test_a_text_of_any_length_takes_a_bounded_part_of_the_log(text: str) -> None:
    try:
        raise LookupError(text)
    except LookupError:
        one = record("failed: %s", text)
        one.exc_info = sys.exc_info()
    found = json.loads(JsonFormatter().format(one))
    assert len(found["message"]) < 5_000
    assert len(found["exception"]) < 20_000
    assert "Traceback" in found["exception"]
    assert "left out ..." in found["exception"]
    words = TextFormatter("%(levelprefix)s %(message)s", use_colors=False)
    assert len(words.format(one)) < 40_000
