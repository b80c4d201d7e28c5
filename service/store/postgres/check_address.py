"""Checks addresses of PostgreSQL before they are used. Knows nothing of connections.

What libpq says of a wrong address may quote a part of its password, so no error here does.
"""

import difflib
import re
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

HIGHEST_PORT = 65535
# Parameters with few values, and these values.
VALUES = {
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
}
ESCAPE = "in a user name or a password, write '/', '?', '#', '@', ':' and '%' as %2F, %3F, %23, %40, %3A and %25"


class WrongAddress(ValueError):
    """The address is not one of PostgreSQL. The message does not quote it."""


def check_address(address: str) -> None:
    """Raise WrongAddress if PostgreSQL does not accept the form of an address."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise WrongAddress(_reason(address)) from None
    for port in str(parts.get("port", "")).split(","):
        if port and not (re.fullmatch("[0-9]+", port) and 0 < int(port) <= HIGHEST_PORT):
            raise WrongAddress(f"what stands for the port is no number from 1 to {HIGHEST_PORT}; {ESCAPE}")
    for name, allowed in VALUES.items():
        value = parts.get(name)
        if value is not None and value not in allowed:
            raise WrongAddress(f"the value of the parameter {name} must be one of {', '.join(allowed)}")


def _reason(address: str) -> str:
    """Return what is wrong with an address that cannot be parsed."""
    known = [option.keyword.decode() for option in Conninfo.get_defaults()]
    _, mark, parameters = address.partition("?")
    names = [unquote(pair.partition("=")[0]) for pair in parameters.split("&")]
    for name in names:
        # Only what is like a parameter is quoted: it may as well be the rest of a password that has a '?'.
        if name not in known and (near := difflib.get_close_matches(name, known, n=1)):
            return f"there is no parameter {name!r}; did you mean {near[0]!r}?"
    if mark and not set(names) <= set(known):
        return f"after '?' stands something that is no parameter of PostgreSQL with '=' and a value; {ESCAPE}"
    return f"it cannot be read; {ESCAPE}"
