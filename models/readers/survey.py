"""Read the headers of picture files: sizes, modes, animations; and choose one size and one number of channels for all."""

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from models.files.regular_file import open_regular
from models.preprocess import AnyFit, Pixels, Preprocessing, preprocess, upright_size
from models.readers.download import DataError
from models.readers.formats import FORMAT_NAMES, PICTURE_FORMATS
from models.readers.grey import GREY_MODES, HasColorError, check_grey
from models.readers.left_out import counted, listed, plural
from models.strip_metadata import strip_metadata

# Above this side length, the user must give a size: training on whole photographs is hardly ever intended.
MAX_OWN_SIDE = 128
# Files of one task of a thread.
CHUNK = 64
T = TypeVar("T")
Size = tuple[int, int]  # height, width


class Header(NamedTuple):
    """What the header of a picture says."""

    size: Size  # upright
    mode: str
    animated: bool


def in_threads(work: Callable[[int], T], count: int, title: str, chunk: int = CHUNK) -> Iterator[T]:
    """Yield work(0), work(1), ... in this order, from as many threads as there are cores, with a progress bar.

    Pillow releases the interpreter lock while it decodes. Only a few results wait at a time: for each core, those
    of three tasks of `chunk` files.
    """
    workers = os.cpu_count() or 1
    chunks = (range(start, min(count, start + chunk)) for start in range(0, count, chunk))
    with ThreadPoolExecutor(workers) as pool, tqdm(total=count, desc=title, disable=None, leave=False) as bar:
        waiting = [pool.submit(lambda rows=rows: [work(i) for i in rows]) for rows in islice(chunks, 2 * workers)]  # type: ignore[misc]
        while waiting:
            found = waiting.pop(0).result()
            waiting += [pool.submit(lambda rows=rows: [work(i) for i in rows]) for rows in islice(chunks, 1)]  # type: ignore[misc]
            bar.update(len(found))
            yield from found


def read_header(path: Path) -> Header | None:
    """Return what a file's header says, or None if it cannot be read; `read_picture` has the reason."""
    try:
        with open_regular(path) as file, Image.open(file, formats=PICTURE_FORMATS) as image:
            return Header(upright_size(image), image.mode, bool(getattr(image, "is_animated", False)))
    except Exception:  # A hostile file may raise anything.
        return None


def survey(files: Sequence[Path]) -> list[Header | None]:
    """Return the header of each file, None for a file that cannot be read."""
    # Pillow warns of large pictures, and refuses those of twice that size. The latter is our bound, too.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return list(in_threads(lambda i: read_header(files[i]), len(files), "looking at pictures"))


def read_picture(path: Path, spec: Preprocessing, grey_only: bool = False) -> Pixels | str:
    """Return the picture's pixels, or the reason why it cannot be read.

    With `grey_only`, raises HasColorError for a picture with colours, which is decoded once for both.
    """
    try:
        with open_regular(path) as file:
            data = strip_metadata(file.read())
        if not data:
            return "the file is empty"
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            pixels = preprocess(image, spec)
            if grey_only:
                check_grey(image, spec)
            return pixels
    except HasColorError:
        raise
    except Image.DecompressionBombError:
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which is too large; make it smaller"
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):
            return f"not a picture in one of the formats {FORMAT_NAMES}"
        return str(error.strerror or error)
    except Exception as error:  # Pillow's decoders raise many types of exceptions.
        return f"{type(error).__name__}: {error}"


def choose_shape(headers: Sequence[Header], size: Size | None, channels: int | None) -> tuple[int, int, int]:
    """Return (C, H, W): what was asked for, else the size of more than half of the pictures. Raises DataError."""
    channels = channels or (1 if all(header.mode in GREY_MODES for header in headers) else 3)
    if size is not None:
        return channels, *size
    sizes = Counter(header.size for header in headers)
    (height, width), count = sizes.most_common(1)[0]
    if 2 * count <= len(headers) and len(sizes) > 1:
        raise DataError(
            f"the pictures have {len(sizes)} sizes, and none is that of more than half of them; the most frequent ones "
            f"(height x width): {_sizes(sizes, 5)}; choose a size to train on, such as --size {_guess(sizes)}"
        )
    if max(height, width) > MAX_OWN_SIDE:
        raise DataError(f"the pictures are {width} wide and {height} high; choose a size to train on, such as --size 64x64")
    return channels, height, width


def header_lines(headers: Sequence[Header], spec: Preprocessing, advise: bool = False) -> list[str]:
    """Return lines about sizes and modes, and about what is done to other sizes. `advise` names flags of training."""
    sizes, modes = Counter(header.size for header in headers), Counter(header.mode for header in headers)
    line = f"sizes (height x width): {_sizes(sizes, 5)}"
    wanted = (spec.height, spec.width)
    resized = sum(count for size, count in sizes.items() if size != wanted)
    if resized:
        other = sum(count for size, count in sizes.items() if size[0] * spec.width != size[1] * spec.height)
        line += f"; {resized:,} of {len(headers):,} are resized to {spec.height} x {spec.width}"
        line += f", {other:,} of them {_fitted(spec.fit, advise)}" if other else ""
    lines = [line, f"modes: {counted(dict(modes.most_common()))}; read as {'grey' if spec.channels == 1 else 'RGB'}"]
    if animated := sum(header.animated for header in headers):
        lines.append(f"{plural(animated, 'file')} with several frames: only the first frame is used")
    return lines


def _fitted(fit: AnyFit, advise: bool) -> str:
    known = {"crop": "cut" + " (--fit pad keeps the whole picture)" * advise, "pad": "padded", "stretch": "distorted"}
    return known.get(fit, "refused")


def _sizes(sizes: Counter[Size], most: int) -> str:
    return listed([f"{h} x {w} ({count:,})" for (h, w), count in sizes.most_common()], most=most)


def _guess(sizes: Counter[Size]) -> str:
    """Return a size to propose: square, a power of two, not above the shorter side of the typical picture, at most 64."""
    sides = sorted(min(size) for size in sizes.elements())
    typical = sides[len(sides) // 2]
    side = next((side for side in (64, 32, 16) if side <= typical), 8)
    return f"{side}x{side}"
