"""The version of the client, which is also sent as part of the User-Agent."""

__version__ = "0.2.0"
