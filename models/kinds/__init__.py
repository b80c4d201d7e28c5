"""The registry of kinds: it maps a name in the configuration to what a model is about.

To add a kind, add one file in this folder and one line below. Knows nothing of nets, training or HTTP.
"""

from reprlib import repr as short_repr

from models.kinds.kind import Kind
from models.kinds.picture import Picture
from models.kinds.strokes import Strokes
from models.kinds.table import Table
from models.kinds.text import Text

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Picture(), Strokes(), Table(), Text())}


def kind_of(name: object) -> Kind:
    """Return the kind with that name. Raises ValueError for an unknown one."""
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"unknown kind {short_repr(name)}; known: {', '.join(sorted(KINDS))}")
    return KINDS[name]
