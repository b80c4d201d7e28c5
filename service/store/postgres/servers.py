"""The servers that an address names, and which of them answers. Knows nothing of what is asked of them."""

from collections.abc import Sequence
from itertools import cycle, islice

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service.store.postgres.schema import PgConnection

CONNECT_SECONDS = 3


def address_of(address: str, connection: PgConnection) -> str | None:
    """Return the address of the one server that a connection is to, of all that the address names; None if it is lost."""
    try:
        info = connection.info
        return make_conninfo(address, host=info.host, hostaddr=info.hostaddr, port=info.port)
    except psycopg.OperationalError:  # the connection has been closed
        return None


def label_of(connection: PgConnection) -> str:
    """Return host and port of the server, for messages."""
    return f"{connection.info.host}:{connection.info.port}"


def addresses(address: str) -> Sequence[str]:
    """Return an address for each server that the address names."""
    named = conninfo_to_dict(address)
    hosts, numbers, ports = (str(named.get(key) or "").split(",") for key in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(numbers))
    places = [islice(cycle(values), count) for values in (hosts, numbers, ports)]
    return [make_conninfo(address, host=host, hostaddr=number, port=port) for host, number, port in zip(*places, strict=True)]


async def is_answering(address: str) -> bool:
    """Return whether the server answers a new connection in any way, even by refusing it."""
    try:
        connection = await psycopg.AsyncConnection.connect(address, connect_timeout=CONNECT_SECONDS)
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    await connection.close()
    return True
