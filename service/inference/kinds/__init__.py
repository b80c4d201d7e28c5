"""What serving a model depends on its kind for. To serve one more kind, add one file in this folder and one line below."""

from collections.abc import Mapping

from service.inference.kinds.drawings import ServedDrawings
from service.inference.kinds.pictures import ServedPictures
from service.inference.kinds.served_kind import ServedKind
from service.inference.kinds.table import ServedTable
from service.inference.kinds.texts import ServedTexts

SERVED_KINDS: Mapping[str, type[ServedKind]] = {
    "picture": ServedPictures,
    "table": ServedTable,
    "strokes": ServedDrawings,
    "text": ServedTexts,
}
