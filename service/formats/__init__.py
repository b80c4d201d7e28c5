"""Converts bytes to arrays and back: pictures, npy, JSON values, forms."""
