"""Sockets and processes: uvicorn with bounds, connection draining, and supervision of workers."""
