"""The parameters in queries that no door knows and none refuses. Knows nothing of requests."""


def is_foreign(name: str) -> bool:
    """Return whether others add this parameter to addresses: jQuery against caches, or those who count visitors."""
    return name == "_" or name.startswith("utm_")
