"""Sockets and processes: uvicorn with limits on connections, connection draining, and supervision of workers."""
