"""Large pictures are prepared strip by strip: the same bytes as all at once, from less memory; large JPEGs from a draft."""

import io
import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from models import preprocess as module
from models.preprocess import Filter, Fit, Pixels, Preprocessing, preprocess

ROOT = Path(__file__).parents[2]
CHANCE = np.random.default_rng(0)
SRGB, LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
LAB_TO_RGB, RGB_TO_LAB = (
    ImageCms.buildTransform(LAB, SRGB, "LAB", "RGB"),
    ImageCms.buildTransform(SRGB, LAB, "RGB", "LAB"),
)


def at_once(image: Image.Image, spec: Preprocessing) -> Pixels:
    """The slow twin: every step for the whole picture, by Pillow's own functions."""
    mode = "L" if spec.channels == 1 else "RGB"
    image.load()
    pixels = np.asarray(_fitted(_in_mode(_on_black(ImageOps.exif_transpose(image)), mode), spec))
    return np.ascontiguousarray(pixels[None] if spec.channels == 1 else pixels.transpose(2, 0, 1))


def _on_black(image: Image.Image) -> Image.Image:
    if image.mode == "RGBa":
        return Image.merge("RGB", image.split()[:3])
    if image.mode == "La":
        return image.getchannel(0)
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F":
            values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
            values = values * 255 if values.max() <= 1 else values
        else:
            values = values / 257
        image = Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8))
    elif image.mode == "LAB":
        image = ImageCms.applyTransform(image, LAB_TO_RGB) or image
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert(mode)


def _fitted(image: Image.Image, spec: Preprocessing) -> Image.Image:
    size, resampling = (spec.width, spec.height), Image.Resampling[spec.filter.upper()]
    if image.size == size:
        return image
    if spec.fit == "stretch":
        return image.resize(size, resampling)
    if spec.fit == "crop":
        return ImageOps.fit(image, size, resampling)
    scale = min(spec.width / image.width, spec.height / image.height)
    inner = (
        min(spec.width, max(1, round(image.width * scale))),
        min(spec.height, max(1, round(image.height * scale))),
    )
    padded = Image.new(image.mode, size)
    padded.paste(image.resize(inner, resampling), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return padded


def picture(mode: str, width: int, height: int) -> Image.Image:
    """Noise in a mode; "P+" and the like carry a transparent colour beside it."""
    shape, name = (height, width), mode.removesuffix("+")
    if name.startswith("I;16"):
        image = Image.fromarray(CHANCE.integers(0, 1 << 16, shape).astype(">u2" if name == "I;16B" else "<u2"))
    elif name == "I":
        image = Image.fromarray(CHANCE.integers(-9, 1 << 17, shape).astype(np.int32))
    elif name == "F":
        values = CHANCE.random(shape, np.float32)
        values[-1, -1] = 200 if mode.endswith("+") else 1  # the very last pixel decides what all of them mean
        image = Image.fromarray(values)
    elif name in ("P", "PA"):
        image = Image.fromarray(CHANCE.integers(0, 256, shape).astype(np.uint8))
        image = image.convert("P")
        image.putpalette(CHANCE.integers(0, 256, 768).astype(np.uint8).tobytes())
        if mode == "P+":
            image.info["transparency"] = CHANCE.integers(0, 256, 256).astype(np.uint8).tobytes()
        image = image.convert(name) if name == "PA" else image
    elif name == "LAB":
        rgb = Image.fromarray(CHANCE.integers(0, 256, (*shape, 3)).astype(np.uint8))
        made = ImageCms.applyTransform(rgb, RGB_TO_LAB)
        assert made is not None
        image = made
    else:
        bands = len(Image.new(name, (1, 1)).getbands())
        data = CHANCE.integers(0, 256, (*shape, bands)).astype(np.uint8).tobytes()
        image = Image.frombytes("L", shape[::-1], data).point(lambda v: v).convert("1") if name == "1" else Image.frombytes(
            name, shape[::-1], data
        )  # fmt: skip
        if mode in ("RGB+", "L+"):
            image.info["transparency"] = image.getpixel((0, 0))
    return image


MODES = ["1", "L", "L+", "P", "P+", "PA", "LA", "La", "RGB", "RGB+", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
DEEP = ["I;16", "I;16B", "I", "F", "F+"]


@pytest.mark.parametrize("mode", MODES + DEEP)
def test_strips_give_the_same_bytes(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fit, filter and orientation; odd sizes; strips of several lines, and of lines in several pieces."""
    chance = random.Random(mode)
    for fit, filter, orientation in itertools.product(get_args(Fit), get_args(Filter), range(1, 9)):
        width, height = chance.choice([(37, 23), (23, 37), (1, 61), (61, 1), (8, 8), (50, 9)])
        image = picture(mode, width, height)
        image.getexif()[module.ORIENTATION] = orientation
        spec = Preprocessing(chance.choice((1, 3)), chance.choice((1, 7, 8, 28)), chance.choice((1, 8, 13, 28)), fit, filter)
        expected = at_once(image, spec)
        for pixels in (1 << 18, 100, 10):
            monkeypatch.setattr(module, "STRIP_PIXELS", pixels)
            np.testing.assert_array_equal(
                preprocess(image, spec), expected, f"{fit} {filter} {orientation} {image.size} {pixels}"
            )


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P+", "F+"])
def test_strips_of_their_real_size_give_the_same_bytes(mode: str) -> None:
    for width, height, fit in ((1201, 611, "pad"), (611, 1201, "crop"), (300_001, 1, "stretch"), (1, 300_001, "pad")):
        image = picture(mode, width, height)
        spec = Preprocessing(3, 28, 20, fit, "bilinear")  # type: ignore[arg-type]
        assert image.width * image.height > module.STRIP_PIXELS
        np.testing.assert_array_equal(preprocess(image, spec), at_once(image, spec))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def photograph(width: int, height: int) -> Image.Image:
    """Something smooth with some noise, as cameras see it."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [128 + 100 * np.sin(x / (31 + 40 * i) + i) * np.cos(y / (57 - 9 * i)) for i in range(3)]
    noise = CHANCE.normal(0, 4, (height, width, 3))
    return Image.fromarray((np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("progressive", [False, True])
def test_large_jpegs_are_decoded_at_a_fraction_and_look_the_same(fit: Fit, progressive: bool) -> None:
    data = jpeg(photograph(1600, 1200), quality=90, progressive=progressive)
    for orientation, (width, height) in ((1, (28, 28)), (6, (64, 48))):
        spec = Preprocessing(3, height, width, fit)
        image, whole = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
        for one in (image, whole):
            one.getexif()[module.ORIENTATION] = orientation
        pixels = preprocess(image, spec)
        assert image.width < 1600
        off = np.abs(pixels.astype(int) - at_once(whole, spec))
        assert (off.max(), off.mean()) <= (6, 1)


@pytest.mark.parametrize(
    ("size", "spec"), [((1000, 1000), (28, 28)), ((1100, 1100), (300, 300)), ((1200, 1000), (28, 28))], ids=str
)
def test_ordinary_jpegs_are_decoded_whole(size: tuple[int, int], spec: tuple[int, int]) -> None:
    """Below a megapixel, and where the model's own pictures are large."""
    data = jpeg(photograph(*size))
    image = Image.open(io.BytesIO(data))
    pixels = preprocess(image, Preprocessing(3, *spec))
    drafted = image.size != size
    assert drafted == (size[0] * size[1] > module.DRAFT_PIXELS and size[0] >= 8 * spec[0])
    if not drafted:
        np.testing.assert_array_equal(pixels, at_once(Image.open(io.BytesIO(data)), Preprocessing(3, *spec)))


GROWTH = """
import io, resource, sys
import numpy as np
from PIL import Image
from models.preprocess import Preprocessing, preprocess
mode, orientation = sys.argv[1], int(sys.argv[2])
image = Image.new(mode, (4000, 4000))
image.getexif()[0x0112] = orientation
preprocess(Image.new(mode, (600, 600)), Preprocessing(3, 28, 28))  # what is imported and allocated once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
preprocess(image, Preprocessing(3, 28, 28))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize(("mode", "orientation"), [("RGBA", 1), ("I;16", 6), ("P", 3), ("F", 1), ("CMYK", 8)])
def test_preparing_a_decoded_picture_takes_megabytes_not_copies_of_it(mode: str, orientation: int) -> None:
    """16 million pixels are 16 to 64 MB; a copy in floats would be 128."""
    command = [sys.executable, "-c", GROWTH, mode, str(orientation)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert int(ended.stdout) <= 24


def test_pictures_are_read_without_torch() -> None:
    """A process that only decodes is there in a tenth of a second, in a tenth of the memory."""
    program = "import sys, models.preprocess, models.mosaic; assert 'torch' not in sys.modules; import models; models.load"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
