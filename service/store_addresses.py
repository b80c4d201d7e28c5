"""Checks the addresses of the store in the settings before anything is served."""

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
