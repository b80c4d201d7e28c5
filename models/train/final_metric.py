"""Choose the metric of searches at the end of a run, as `models.evaluate.choose_metric` does, and record it in config.json."""

from pathlib import Path

from models.checkpoint import Checkpoint, record_metric
from models.data import Items
from models.metric_choice import choose_for, no_labels


def end_with_metric(out: Path, checkpoint: Checkpoint, training: Items, held_out: Items) -> str:
    """Record the metric that finds the most labels of held-out items; return a line for the user, "" if it is there.

    The items are on the training device. Without labels the metric stays l2. Raises CheckpointError, OSError.
    """
    if checkpoint.manifest.search.chosen_by:
        return ""
    if checkpoint.vae.config.condition:
        return "search metric: l2, because a conditional model's latents are to say what the condition does not"
    if training.labels is None or held_out.labels is None:
        return f"search metric: l2, because {no_labels(checkpoint.vae.kind)}"
    vae = checkpoint.vae.to(training.x.device)
    try:
        choice = choose_for(vae, training.x, training.labels, held_out.x, held_out.labels)
    except ValueError as error:
        return f"search metric: l2, because {vae.kind.worded(str(error))}"
    record_metric(out, choice)
    return f"search metric: {choice} ({choice.chosen_by})"
