"""Data sets on disk and on the web -> raw pictures and labels."""
