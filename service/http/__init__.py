"""Pure ASGI that would fit any service: endpoint, request ids, CORS, access control, observer."""
