"""The error that all readers of checkpoints raise."""


class CheckpointError(Exception):
    """The checkpoint cannot be used; the message names the file and the reason."""
