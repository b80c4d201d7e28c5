"""Tests of the service as its callers meet it: a real process, real sockets."""
