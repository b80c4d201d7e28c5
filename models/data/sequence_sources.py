"""Read data sets of sequences: `strokes:PATH` and `text:PATH`. `models.readers` reads the files.

Knows nothing of models or objectives.
"""

from dataclasses import dataclass
from pathlib import Path

from models.data.items import Splits
from models.data.splitting import split
from models.readers.path_names import expanded
from models.readers.read_options import ReadOptions
from models.readers.strokes import read_strokes
from models.readers.texts import Units, read_texts


@dataclass(frozen=True, kw_only=True)
class SequenceOptions(ReadOptions):
    """How sequences become rows. `max_length`: steps of the longest (None: see the readers).

    Of texts, `units` says what a token is, and `bars` cuts tunes into phrases of so many bars.
    """

    max_length: int | None = None
    units: Units | None = None
    bars: int | None = None


# Drawings of 50 alphabets, as strokes; see `models.evaluate.card`.
OMNIGLOT, OMNIGLOT_FILE = "omniglot-strokes", "omniglot_stroke3.npz"


def read_omniglot(_name: str, data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read `data_dir`/omniglot-strokes/omniglot_stroke3.npz, which cannot be downloaded."""
    own = _of_sequences(options)
    found = read_strokes(data_dir / OMNIGLOT / OMNIGLOT_FILE, own.max_length, own.model)
    return split(found, own.hold_out, own.validation)


def read_drawings(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read drawings: npz, ndjson, or a folder of SVG files."""
    own = _of_sequences(options)
    return split(read_strokes(expanded(rest), own.max_length, own.model), own.hold_out, own.validation)


def read_corpus(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Read texts: the lines of a file, the files of a folder, or tunes."""
    own = _of_sequences(options)
    found = read_texts(expanded(rest), own.max_length, own.units, own.bars, own.model)
    return split(found, own.hold_out, own.validation)


def _of_sequences(options: ReadOptions | None) -> SequenceOptions:
    if options is None:
        return SequenceOptions()
    if not isinstance(options, SequenceOptions):
        raise TypeError(f"sequences are read with SequenceOptions, not {type(options).__name__}")
    return options
