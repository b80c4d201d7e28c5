"""Says in one line why a model could not be loaded, for people who need not know the paths of the machine.

Knows nothing of models.
"""

import os
import re
from pathlib import Path

# The most characters of a reason; the log has all of it.
MOST = 500
# What may be an absolute path: the target of a link, a quoted one, and one without spaces.
PATH = re.compile(r"(?<=is a link to )/.+?(?=, which leads nowhere)|'/[^']*'|(?<![\w.:/])/[^\s'\",;:]+")


def reason_in_one_line(message: str, name: str, directory: Path) -> str:
    """Return the message of an error about a model without its beginning and without paths; names of files stay.

    `directory`: the one of the models, from which the message may have paths.
    """
    text = message.removeprefix(f"cannot load the model {name}: ")
    own = directory / name
    for place in (own, directory, os.path.realpath(own), os.path.realpath(directory)):
        text = re.sub(rf"(?<![\w./-]){re.escape(str(place))}/", "", text).removeprefix(f"{place}: ")
    line = " ".join(PATH.sub(lambda found: Path(found[0].strip("'")).name, text).split())
    return printable(line if len(line) <= MOST else f"{line[: MOST - 1]}…")


def printable(text: str) -> str:
    """Return text that may be any bytes, such as the name of a directory, so that it can be sent."""
    return text if text.isprintable() else ascii(text)[1:-1]
