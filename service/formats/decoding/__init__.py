"""Decoding pictures in processes of their own, within bounds on time and memory."""
