"""The REST API: bodies, parameters, content negotiation, answers, schemas and routes."""
