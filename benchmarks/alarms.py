"""`python -m benchmarks.alarms`: the share of pictures that /score calls unusual at one level, by kind and by way of sending.

Sends test pictures of Fashion-MNIST to `fashion-mnist-40`, as they are and changed, and digits. Needs both data sets
(--data-dir, VAE_DATA_DIR). Compares no speeds.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import report
from benchmarks.process import StartError, free_port, running
from benchmarks.service import READY
from models.data import class_names, load_data
from models.readers.download import DataError
from models.train.flag_types import whole
from models.train.flags import default_data_dir

MODEL, CLOTHES, DIGITS = "fashion-mnist-40", "fashion-mnist", "mnist"
LEVEL, AT_ONCE, ENLARGED, QUALITY, SECONDS = 0.05, 200, 112, 85, 120

Pictures = NDArray[np.uint8]  # (N, H, W)
# How a picture is changed, and how it is sent.
CHANGES: dict[str, Callable[[Pictures], Pictures]] = {
    "as they are": lambda x: x,
    "inverted": lambda x: 255 - x,
    "blank": lambda x: np.repeat(x.max((1, 2), keepdims=True), x.shape[1], 1).repeat(x.shape[2], 2),
    "noise": lambda x: np.random.default_rng(0).integers(0, 256, x.shape, np.uint8),
    "rotated by 90 degrees": lambda x: np.rot90(x, 1, (1, 2)),
    "rotated by 180 degrees": lambda x: np.rot90(x, 2, (1, 2)),
    "mirrored": lambda x: x[:, :, ::-1],
}
WAYS: dict[str, tuple[int, Literal["PNG", "JPEG"]]] = {
    "PNG of 28 x 28 pixels": (1, "PNG"),
    f"PNG, enlarged to {ENLARGED} x {ENLARGED}": (ENLARGED // 28, "PNG"),
    f"JPEG of 28 x 28 pixels, quality {QUALITY}": (1, "JPEG"),
}


def p_values(client: httpx.Client, pictures: Pictures, way: str = "PNG of 28 x 28 pixels") -> NDArray[np.float64]:
    """Return the p-value of each picture, sent in this way. Raises HTTPError."""
    enlarge, kind = WAYS[way]
    found: list[float] = []
    for first in range(0, len(pictures), AT_ONCE):
        files = []
        for picture in pictures[first : first + AT_ONCE]:
            image, out = Image.fromarray(np.ascontiguousarray(picture)), io.BytesIO()
            image.resize((image.width * enlarge, image.height * enlarge)).save(out, kind, quality=QUALITY)
            files.append(("image", ("x", out.getvalue())))
        found += client.post("/score", params={"model": MODEL}, files=files).raise_for_status().json()["p_value"]
    return np.array(found)


def share(p: NDArray[np.float64]) -> str:
    """Return the share of alarms as text."""
    return f"{100 * (p <= LEVEL).mean():.1f} %"


def distance(p: NDArray[np.float64]) -> str:
    """Return the Kolmogorov-Smirnov distance from uniform as text."""
    steps = np.arange(len(p) + 1) / len(p)
    return f"{max(np.abs(np.sort(p) - steps[1:]).max(), np.abs(np.sort(p) - steps[:-1]).max()):.3f}"


def main() -> int:
    """Measure and print. Exit status: 1 if the service fails or a data set is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alarms", description="Alarms of /score by kind of picture.")
    parser.add_argument(
        "--pictures", type=whole(1, 60_000), default=2000, help="test pictures of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=default_data_dir(), help="directory of the data sets (default: %(default)s)"
    )
    options = parser.parse_args()
    try:
        test, digits = (load_data(name, options.data_dir).test for name in (CLOTHES, DIGITS))
        clothes, others = (one.x[: options.pictures, 0].numpy() for one in (test, digits))
        labels = (test.labels if test.labels is not None else test.x.new_zeros(len(test.x)))[: options.pictures].numpy()
        port = free_port()
        with tempfile.TemporaryDirectory() as directory:
            variables = {"VAE_MODELS": MODEL, "VAE_DEVICE": "cpu", "VAE_STORE": f"{directory}/latents.db"}
            command = [sys.executable, "-m", "service", "--port", str(port)]
            with (
                running(command, port, READY, variables) as server,
                httpx.Client(base_url=server.url, timeout=SECONDS, trust_env=False) as client,
            ):
                sent = {way: (p_values(client, clothes, way), p_values(client, others, way)) for way in WAYS}
                kinds = {name: p_values(client, change(clothes)) for name, change in CHANGES.items()}
    except (StartError, DataError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    usual, strange = sent["PNG of 28 x 28 pixels"]
    rows: Iterable[list[str]] = [["digits", share(strange)], *([f"clothes, {name}", share(p)] for name, p in kinds.items())]
    print(report.heading("benchmarks.alarms"), report.table(("pictures", f"p_value at most {LEVEL}"), rows), sep="\n")
    names = class_names({"name": CLOTHES}) or ()
    of_class = [[name, share(usual[labels == label])] for label, name in enumerate(names)]
    print("", report.table(("class of clothes", "false alarms"), of_class), sep="\n")
    ways = [[way, share(known), distance(known), share(unknown)] for way, (known, unknown) in sent.items()]
    print("", report.table(("sent as", "false alarms", "distance from uniform", "digits caught"), ways), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
