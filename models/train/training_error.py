"""The error of a training run that cannot start or continue."""


class TrainingError(Exception):
    """The run cannot start or continue; the message says why."""
