"""ASGI components that any service could use: endpoints, request ids, CORS, access control, the observer."""
