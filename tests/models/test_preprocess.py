"""Pictures of every mode, shape and container -> the model's bytes."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.preprocess import Filter, Fit, Pixels, Preprocessing, preprocess

GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLORS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def reopened(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    """As a caller gets it: out of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue()))


def grey(image: Image.Image, size: tuple[int, int] | None = None, fit: Fit = "pad", **options: Any) -> Pixels:
    """(H, W), of the picture's own size unless `size` (W, H) is given."""
    width, height = size or image.size
    pixels = preprocess(image, Preprocessing(1, height, width, fit, **options))
    assert pixels.shape == (1, height, width)
    return pixels.reshape(height, width)


def rgb(image: Image.Image, size: tuple[int, int] | None = None, fit: Fit = "pad", **options: Any) -> Pixels:
    """(H, W, 3)."""
    width, height = size or image.size
    pixels = preprocess(image, Preprocessing(3, height, width, fit, **options))
    assert pixels.shape == (3, height, width)
    return pixels.transpose(1, 2, 0)


def pixel(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (1, 1), value)


class TestModes:
    def test_grey_stays_exactly_what_it_is(self) -> None:
        image = Image.fromarray(GREYS)
        np.testing.assert_array_equal(grey(image), GREYS)
        np.testing.assert_array_equal(rgb(image), GREYS[..., None].repeat(3, -1))
        np.testing.assert_array_equal(grey(image.convert("RGB")), GREYS)

    def test_colors_stay_exactly_what_they_are(self) -> None:
        np.testing.assert_array_equal(rgb(Image.fromarray(COLORS)), COLORS)

    def test_colors_become_their_luma(self) -> None:
        luma = COLORS @ [0.299, 0.587, 0.114]
        assert np.abs(grey(Image.fromarray(COLORS)) - luma).max() <= 1

    def test_result_is_contiguous_bytes_of_its_own(self) -> None:
        for channels in (1, 3):
            pixels = preprocess(Image.fromarray(COLORS), Preprocessing(channels, 12, 20))
            assert pixels.dtype == np.uint8
            assert pixels.flags.c_contiguous

    def test_one_bit(self) -> None:
        image = Image.fromarray(GREYS > 99)
        assert image.mode == "1"
        np.testing.assert_array_equal(grey(image), np.where(GREYS > 99, 255, 0))
        np.testing.assert_array_equal(rgb(image)[..., 1], np.where(GREYS > 99, 255, 0))

    def test_palette(self) -> None:
        image = reopened(Image.fromarray(COLORS).quantize(16), "GIF")
        assert image.mode == "P"
        np.testing.assert_array_equal(rgb(image), np.asarray(image.convert("RGB")))

    def test_palette_of_greys(self) -> None:
        np.testing.assert_array_equal(grey(Image.fromarray(GREYS).convert("P")), GREYS)

    @pytest.mark.parametrize(
        ("mode", "value", "expected"),
        [
            ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
            ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
            ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
            ("YCbCr", (128, 128, 128), (128, 128, 128)),
            ("YCbCr", (76, 85, 255), (255, 0, 0)),
            ("HSV", (0, 255, 255), (255, 0, 0)),
            ("HSV", (85, 255, 255), (0, 255, 0)),
            ("HSV", (7, 0, 99), (99, 99, 99)),
            ("RGBX", (10, 20, 30, 40), (10, 20, 30)),
        ],
    )
    def test_other_color_spaces(self, mode: str, value: tuple[int, ...], expected: tuple[int, ...]) -> None:
        np.testing.assert_allclose(rgb(pixel(mode, value))[0, 0].astype(int), expected, atol=1)

    @pytest.mark.parametrize("color", [(0, 0, 0), (119, 119, 119), (255, 255, 255), (200, 30, 40), (60, 110, 180)])
    def test_lab_comes_back(self, color: tuple[int, int, int]) -> None:
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(pixel("RGB", color), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
        assert image is not None
        np.testing.assert_allclose(rgb(image)[0, 0].astype(int), color, atol=4)
        np.testing.assert_allclose(int(grey(image)[0, 0]), np.dot(color, [0.299, 0.587, 0.114]), atol=4)


class TestDeepGreys:
    LEVELS = np.array([[0, 1, 128, 129, 256, 257, 32896, 65278, 65535]])
    BYTES = np.array([[0, 0, 0, 1, 1, 1, 128, 254, 255]])

    @pytest.mark.parametrize("dtype", ["<u2", ">u2"])
    def test_sixteen_bits(self, dtype: str) -> None:
        image = Image.fromarray(self.LEVELS.astype(dtype))
        assert image.mode == {"<u2": "I;16", ">u2": "I;16B"}[dtype]
        np.testing.assert_array_equal(grey(image), self.BYTES)
        np.testing.assert_array_equal(rgb(image)[..., 2], self.BYTES)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bits_out_of_a_file(self, kind: str) -> None:
        np.testing.assert_array_equal(grey(reopened(Image.fromarray(self.LEVELS.astype("<u2")), kind)), self.BYTES)

    def test_thirty_two_bits(self) -> None:
        levels = np.array([[-(2**31), -1, *self.LEVELS[0], 65536, 2**31 - 1]], np.int32)
        np.testing.assert_array_equal(grey(Image.fromarray(levels)), [[0, 0, *self.BYTES[0], 255, 255]])

    def test_every_eight_bit_grey_survives_sixteen(self) -> None:
        np.testing.assert_array_equal(grey(Image.fromarray(GREYS.astype(np.uint16) * 257)), GREYS)

    def test_floats(self) -> None:
        unit = np.array([[0, 0.25, 0.5, 1]], np.float32)
        np.testing.assert_array_equal(grey(Image.fromarray(unit)), [[0, 64, 128, 255]])
        np.testing.assert_array_equal(grey(Image.fromarray(unit * 200)), [[0, 50, 100, 200]])

    @pytest.mark.filterwarnings("error")
    def test_floats_that_are_not_numbers(self) -> None:
        wild = np.array([[np.nan, -np.inf, -7, 30.4, 1e30, np.inf]], np.float32)
        np.testing.assert_array_equal(grey(Image.fromarray(wild)), [[0, 0, 0, 30, 255, 255]])
        partial = np.array([[np.nan, 0.5, 1]], np.float32)
        np.testing.assert_array_equal(grey(Image.fromarray(partial)), [[0, 128, 255]])

    @pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "<f4"])
    def test_can_be_resized_and_turned(self, dtype: str) -> None:
        image = turned(np.full((2, 6), 255 if dtype == "<f4" else 65535, dtype))
        assert (grey(image, (2, 6)) == 255).all()
        assert (grey(image, (4, 12)) == 255).all()


def turned(pixels: NDArray[Any]) -> Image.Image:
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 6
    return image


class TestTransparency:
    """Over black: pixel * alpha / 255."""

    def test_rgba(self) -> None:
        image = Image.new("RGBA", (3, 1))
        image.putdata([(200, 100, 50, 255), (200, 100, 50, 51), (200, 100, 50, 0)])
        np.testing.assert_allclose(rgb(image)[0].astype(int), [(200, 100, 50), (40, 20, 10), (0, 0, 0)], atol=1)

    @pytest.mark.parametrize("mode", ["LA", "PA"])
    def test_grey_with_alpha(self, mode: str) -> None:
        image = Image.new("LA", (3, 1))
        image.putdata([(200, 255), (200, 51), (200, 0)])
        found = grey(image.convert("RGBA").convert(mode), background="black")
        np.testing.assert_allclose(found[0].astype(int), [200, 40, 0], atol=1)

    def test_opaque_grey_with_alpha_is_exact(self) -> None:
        np.testing.assert_array_equal(grey(Image.fromarray(GREYS).convert("LA")), GREYS)

    @pytest.mark.parametrize("mode", ["RGBa", "La"])
    def test_multiplied_already(self, mode: str) -> None:
        straight = pixel({"RGBa": "RGBA", "La": "LA"}[mode], (200, 200, 200, 51) if mode == "RGBa" else (200, 51))
        np.testing.assert_allclose(rgb(straight.convert(mode))[0, 0].astype(int), (40, 40, 40), atol=1)
        np.testing.assert_allclose(int(grey(straight.convert(mode))[0, 0]), 40, atol=1)

    def test_palette_with_a_transparent_entry(self) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putdata([0, 1])
        np.testing.assert_array_equal(rgb(reopened(image, transparency=1))[0], [(255, 0, 0), (0, 0, 0)])
        alphas = reopened(image, transparency=bytes([255, 51]))
        np.testing.assert_array_equal(rgb(alphas)[0], [(255, 0, 0), (0, 51, 0)])

    @pytest.mark.parametrize(
        ("mode", "colors", "transparent", "expected"),
        [("RGB", [(9, 8, 7), (1, 2, 3)], (9, 8, 7), [(0, 0, 0), (1, 2, 3)]), ("L", [99, 7], 99, [(0, 0, 0), (7, 7, 7)])],
    )
    def test_one_transparent_color(self, mode: str, colors: list[Any], transparent: Any, expected: list[Any]) -> None:
        image = Image.new(mode, (2, 1))
        image.putdata(colors)
        found = rgb(reopened(image, transparency=transparent), background="black")
        np.testing.assert_array_equal(found[0], expected)


UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
# EXIF value -> how a picture is laid out that is to be shown upright
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


class TestOrientation:
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", STORED)
    def test_is_applied(self, orientation: int, kind: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
        np.testing.assert_array_equal(grey(reopened(stored, kind, exif=exif, **options), (3, 2)), UPRIGHT)

    @pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0"])
    def test_broken_metadata_does_not_cost_the_picture(self, exif: bytes) -> None:
        np.testing.assert_array_equal(grey(reopened(Image.fromarray(GREYS), exif=exif)), GREYS)
        np.testing.assert_array_equal(grey(reopened(Image.fromarray(GREYS), "WEBP", lossless=True, exif=exif)), GREYS)


class TestFit:
    WIDE = Image.fromarray(np.array([[50] * 4 + [100] * 4 + [150] * 4] * 4, np.uint8))  # 12 wide, 4 high

    def test_pad_keeps_all_of_it_on_black(self) -> None:
        pixels = grey(self.WIDE, (12, 12), "pad")
        np.testing.assert_array_equal(pixels[4:8], np.asarray(self.WIDE))
        assert pixels[:4].sum() == pixels[8:].sum() == 0
        np.testing.assert_array_equal(grey(self.WIDE.transpose(Image.Transpose.ROTATE_90), (12, 12)), np.rot90(pixels))

    def test_crop_cuts_the_middle_out(self) -> None:
        assert (grey(self.WIDE, (4, 4), "crop") == 100).all()

    def test_stretch_distorts(self) -> None:
        pixels = grey(self.WIDE, (12, 24), "stretch")
        np.testing.assert_array_equal(pixels, np.asarray(self.WIDE)[:1].repeat(24, 0))

    @pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
    @pytest.mark.parametrize("filter", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
    def test_the_right_size_is_never_resampled(self, fit: Fit, filter: Filter) -> None:
        pixels = preprocess(Image.fromarray(COLORS), Preprocessing(3, 12, 20, fit, filter))
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), COLORS)

    def test_filters_differ(self) -> None:
        results = {
            preprocess(Image.fromarray(COLORS), Preprocessing(3, 7, 9, "stretch", name)).tobytes()
            for name in ("nearest", "box", "bilinear", "bicubic", "lanczos")
        }
        assert len(results) == 5

    @pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
    @pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (1, 28), (5000, 2)])
    def test_extreme_shapes(self, size: tuple[int, int], fit: Fit) -> None:
        pixels = grey(Image.new("L", size, 255), (28, 28), fit)
        assert pixels.any()
        if fit != "pad":
            assert (pixels == 255).all()

    @settings(max_examples=60, deadline=None)
    @given(*[st.integers(1, 40)] * 4, st.sampled_from(["pad", "crop", "stretch"]), st.sampled_from(["L", "RGB", "1", "P"]))
    def test_any_size_becomes_any_other(self, w: int, h: int, width: int, height: int, fit: Fit, mode: str) -> None:
        pixels = rgb(Image.new("RGB", (w, h), "white").convert(mode), (width, height), fit)
        shown = pixels[..., 0] > 0
        assert (pixels[shown] == 255).all()
        assert shown.any(0).all() or shown.any(1).all()  # reaches over the whole width or the whole height


LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}, "GIF": {}}


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_the_container_does_not_matter(mode: str) -> None:
    image = Image.fromarray(COLORS).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(COLORS[..., 0]))
    kinds = {"L": [*LOSSLESS], "RGB": ["PNG", "BMP", "TIFF", "WEBP"]}.get(mode, ["PNG", "TIFF", "WEBP"])
    results: list[Pixels] = [grey(reopened(image, kind, **LOSSLESS[kind]), (9, 9)) for kind in kinds]
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_the_callers_picture_is_left_alone() -> None:
    image = Image.fromarray(COLORS).convert("RGBA")
    before = image.tobytes(), image.mode, image.size
    grey(image, (5, 5))
    assert (image.tobytes(), image.mode, image.size) == before


@pytest.mark.parametrize(
    "changes",
    [{"channels": 2}, {"channels": 0}, {"height": 0}, {"width": -1}, {"width": 2.0}, {"fit": "zoom"}, {"filter": "sinc"}],
)
def test_other_specifications_are_refused(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"channels": 1, "height": 8, "width": 8} | changes
    with pytest.raises(ValueError, match=r"unknown fit|channels must be"):
        Preprocessing(**values)
