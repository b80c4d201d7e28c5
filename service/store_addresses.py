"""Checks the addresses of the store in the settings before anything is served, and writes them for people."""

from itertools import cycle
from pathlib import Path

from service.settings import Settings, SettingsError
from service.store import POSTGRES


def check_store_addresses(settings: Settings) -> None:
    """Raise SettingsError, which quotes no password, if an address in PostgreSQL cannot be right."""
    for name in ("store", "store_reads"):
        address = getattr(settings, name)
        if address.startswith(POSTGRES):
            from service.store.postgres.check_address import WrongAddress, check_address  # an extra

            try:
                check_address(address)
            except WrongAddress as error:
                source = f"VAE_{name.upper()}" if getattr(settings, f"{name}_file") is None else f"VAE_{name.upper()}_FILE"
                raise SettingsError(f"{source} has no valid address of PostgreSQL: {error}") from None


def shown_address(address: str) -> str:
    """Return the address of a store without the user, password and options of a database. It has to be valid."""
    if not address.startswith(POSTGRES):
        return str(Path(address).resolve())
    from psycopg.conninfo import conninfo_to_dict  # an extra

    named = {name: str(value) for name, value in conninfo_to_dict(address).items()}
    host, port, database = named.get("host") or named.get("hostaddr", ""), named.get("port"), named.get("dbname", "")
    if host.startswith(("/", "@")):  # A directory or name of sockets, which cannot stand before the database.
        return f"{POSTGRES[0]}/{database}?host={host}" + f"&port={port}" * bool(port)
    hosts, ports = host.rpartition("@")[2].split(","), (port or "").split(",")  # An @ in a password may not be quoted.
    places = (f"{one}:{own}" if own else one for one, own in zip(hosts, cycle(ports), strict=False))
    return f"{POSTGRES[0]}{','.join(places)}/{database}"
