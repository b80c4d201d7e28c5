"""Drawings as polylines: SVG in and out, simplification, and pictures of them. Knows nothing of models, torch or HTTP."""
