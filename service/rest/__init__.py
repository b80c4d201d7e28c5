"""The REST API: bodies, parameters, content negotiation, answers, schemas, the OpenAPI page and routes."""
