"""Executes examples/tour.ipynb in Jupyter. `python -m tests.live.notebook` also writes its outputs into the file."""

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.live.server import ROOT, environment

PATH = ROOT / "examples" / "tour.ipynb"
SECONDS = 120  # for one cell; all together take about 8
# Beside the outputs nothing of the machine is stored, such as the version of its Python.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed() -> Any:
    """Return the notebook with the outputs that it has now. Raises CellExecutionError, with the cell."""
    notebook = nbformat.read(PATH, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as place:
        own = environment(
            PYTHONPATH=f"{ROOT}:{ROOT / 'client'}", IPYTHONDIR=place, MPLCONFIGDIR=place, JUPYTER_RUNTIME_DIR=place
        )
        client = NotebookClient(
            notebook, timeout=SECONDS, record_timing=False, resources={"metadata": {"path": str(PATH.parent)}}
        )
        client.execute(env=own)
    notebook.metadata.update(METADATA)
    return notebook


if __name__ == "__main__":
    Path(PATH).write_text(nbformat.writes(executed()) + "\n")  # type: ignore[no-untyped-call]
