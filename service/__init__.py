"""The HTTP service: loads checkpoints onto a device and answers for them."""
