"""Computes rows in batches on a device: queues, batches, buckets. Knows nothing of models or requests."""
