"""Reading and writing files safely: atomic, locked, bounded."""
