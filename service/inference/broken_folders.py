"""Entries of the models' directory that were meant to be models and cannot be: broken links, weights without config.json.

Knows nothing of loaded models.
"""

import os
from pathlib import Path

from models.calibration import CALIBRATION
from models.checkpoint import CONFIG
from models.diffusers_layout import PIPELINE
from models.files.broken_link import is_broken_link
from models.golden import GOLDEN
from models.mixture import PRIOR

# Files of numbers that are no weights.
BESIDE_WEIGHTS = (CALIBRATION, GOLDEN, PRIOR)


def broken_folders(directory: Path) -> dict[str, str]:
    """Return the reasons why entries of the models' directory are no models, by their names.

    A folder with neither config.json nor weights is no model, and is not named. Raises OSError.
    """
    found: dict[str, str] = {}
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            reason = _reason(path)
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            found[path.name] = f"{path}: {reason}"
    return found


def _reason(path: Path) -> str:
    config = path / CONFIG
    if is_broken_link(path):
        return f"is a link to {os.readlink(path)}, which leads nowhere; mend or remove the link"
    if is_broken_link(config):
        return f"{CONFIG} is a link to {os.readlink(config)}, which leads nowhere; mend the link, or copy the file"
    if not path.is_dir() or config.exists() or (path / PIPELINE).exists():
        return ""
    weights = sorted(one.name for one in path.iterdir() if one.suffix == ".safetensors" and one.name not in BESIDE_WEIGHTS)
    return f"has weights, {weights[0]}, but no {CONFIG}; copy it beside them" if weights else ""
