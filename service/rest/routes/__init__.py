"""One file a family of endpoints."""
