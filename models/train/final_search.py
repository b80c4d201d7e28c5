"""Choose the distance for searches at the end of a run, as `models.evaluate.search` does, and record it in config.json."""

from pathlib import Path

from models.checkpoint import Checkpoint, record_search
from models.data import Pictures
from models.search_choice import choose_for


def end_with_search(out: Path, checkpoint: Checkpoint, training: Pictures, held_out: Pictures) -> str:
    """Record the distance that finds the most labels of held-out pictures; return a line for the user, "" if it is there.

    Pictures are on the training device. Without labels the distance stays l2. Raises CheckpointError, OSError.
    """
    if checkpoint.manifest.search.chosen_by:
        return ""
    if training.labels is None or held_out.labels is None:
        return "search: by l2, because the pictures have no labels by which another distance could be chosen"
    vae = checkpoint.vae.to(training.x.device)
    try:
        choice = choose_for(vae, training.x, training.labels, held_out.x, held_out.labels)
    except ValueError as error:
        return f"search: by l2, because {error}"
    record_search(out, choice)
    return f"search: by {choice} ({choice.chosen_by})"
