"""The undocumented parts of uvicorn that `service.server` uses exist in the installed version, with the same arguments.

If a name is missing after an upgrade of uvicorn, compare the module that uses it, named in the message, with the new source of
uvicorn (protocols/http/httptools_impl.py, protocols/http/flow_control.py, server.py) before changing a list here.
"""

import asyncio
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

REQUEST = b"POST /path?query HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab"

USED = {
    # state of a connection, and of the request that it parses
    "protocol": (
        "service/server/request_parsing.py and connections.py",
        "access_logger app client cycle expect_100_continue flow headers logger loop parser pipeline root_path scope "
        "server_state transport url "
        "connection_lost connection_made data_received eof_received on_body on_header on_headers_complete on_message_begin "
        "on_message_complete on_response_complete on_url shutdown _start_asgi_task",
    ),
    "cycle": (
        "service/server/response_cycle.py, request_parsing.py and connections.py",
        "body chunked_encoding default_headers disconnected expected_content_length flow keep_alive message_event more_body "
        "on_response response_complete response_started scope transport waiting_for_100_continue receive run_asgi send",
    ),
    "flow": (
        "service/server/request_parsing.py and response_cycle.py",
        "read_paused write_paused drain pause_reading resume_reading",
    ),
    "parser": (
        "service/server/request_parsing.py",
        "feed_data get_http_version get_method set_dangerous_leniencies should_keep_alive should_upgrade",
    ),
    "server_state": (
        "service/server/request_parsing.py, connections.py and server.py",
        "connections default_headers total_requests",
    ),
    "server": (
        "service/server/server.py and service/__main__.py",
        "config server_state servers started handle_exit on_tick run shutdown startup",
    ),
    "config": ("service/server/server.py", "timeout_graceful_shutdown"),
}


class Transport(asyncio.Transport):
    """A transport without a socket."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        pass


async def application(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def found() -> Any:
    """uvicorn's own objects while a request is being answered."""
    config, state = uvicorn.Config(application, lifespan="off", log_config=None), ServerState()
    protocol = HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())
    protocol.connection_made(Transport())
    protocol.data_received(REQUEST)
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[])
    yield SimpleNamespace(
        protocol=protocol,
        cycle=protocol.cycle,
        flow=protocol.flow,
        parser=protocol.parser,
        server_state=state,
        server=server,
        config=config,
    )
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)


@pytest.mark.parametrize("name", USED)
async def test_attributes_exist(name: str, found: Any) -> None:
    modules, names = USED[name]
    missing = [used for used in names.split() if not hasattr(getattr(found, name), used)]
    assert not missing, f"uvicorn {uvicorn.__version__}: its {name} lacks {missing}, see {modules}"


async def test_their_values_mean_what_we_take_them_for(found: Any) -> None:
    protocol, cycle = found.protocol, found.cycle
    assert protocol.url == b"/path?query"
    assert protocol.headers == [(b"host", b"here"), (b"expect", b"100-continue"), (b"content-length", b"2")]
    assert protocol.scope is cycle.scope
    assert protocol.scope["headers"] is protocol.headers
    assert protocol.expect_100_continue
    assert not protocol.pipeline
    assert (bytes(cycle.body), cycle.more_body) == (b"ab", False)
    assert (cycle.response_started, cycle.response_complete, cycle.disconnected) == (False, False, False)
    assert cycle.chunked_encoding is None
    assert cycle.expected_content_length == 0
    assert protocol in found.server_state.connections
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert HIGH_WATER_LIMIT > 0
    assert issubclass(httptools.HttpParserUpgrade, Exception)
    assert not issubclass(httptools.HttpParserUpgrade, httptools.HttpParserError)


@pytest.mark.parametrize(
    ("function", "arguments", "module"),
    [
        (HttpToolsProtocol._start_asgi_task, "self cycle app", "request_parsing.py"),
        (
            RequestResponseCycle,
            "scope transport flow logger access_logger access_log default_headers message_event expect_100_continue "
            "keep_alive on_response",
            "request_parsing.py",
        ),
        (FlowControl, "transport", "request_parsing.py"),
        (uvicorn.Server.handle_exit, "self sig frame", "server.py"),
        (uvicorn.Server.on_tick, "self counter", "server.py"),
        (uvicorn.Server.startup, "self sockets", "server.py"),
        (uvicorn.Server.shutdown, "self sockets", "server.py"),
    ],
)
def test_arguments_are_the_same(function: Callable[..., Any], arguments: str, module: str) -> None:
    """We pass them by position, or override the method."""
    found = list(inspect.signature(function).parameters)
    assert found == arguments.split(), (
        f"uvicorn {uvicorn.__version__}: {function} has other arguments, see service/server/{module}"
    )
