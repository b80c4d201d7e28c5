"""The service around two small models, as the tests of operations have it."""

from tests.service.operations.conftest import collection, inference, pipeline, service, x

__all__ = ["collection", "inference", "pipeline", "service", "x"]
