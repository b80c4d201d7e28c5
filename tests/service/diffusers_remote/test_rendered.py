"""Pictures as diffusers postprocesses them, compared with its own processor."""

import io

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from service.diffusers_remote.rendered import ImageFormat, picture_file, to_bytes, unit_range


@pytest.fixture
def decoded() -> torch.Tensor:
    """Pictures as decoders make them, with values beyond -1 and 1."""
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_values_are_those_of_the_processor(decoded: torch.Tensor) -> None:
    processor = VaeImageProcessor()
    expected = processor.postprocess(decoded, output_type="pt")
    assert unit_range(decoded.numpy()).tobytes() == expected.numpy().tobytes()
    pictures = [np.asarray(one) for one in processor.postprocess(decoded, output_type="pil")]
    np.testing.assert_array_equal(to_bytes(decoded.numpy()), pictures)


def test_bytes_are_rounded_to_the_nearest_and_cut_off() -> None:
    values = np.array([-9, -1, 0, 1, 9], np.float32).reshape(1, 1, 1, 5)
    assert to_bytes(values).ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("image_format", "written", "tolerance"), [("png", "PNG", 0), ("jpg", "JPEG", 8)])
def test_files_show_the_picture(image_format: ImageFormat, written: str, tolerance: int, channels: int) -> None:
    y, x, c = np.mgrid[:32, :40, :channels]
    pixels = (4 * y + 2 * x + 20 * c).astype(np.uint8)
    with Image.open(io.BytesIO(picture_file(pixels, image_format))) as picture:
        assert (picture.format, picture.size) == (written, (40, 32))
        shown = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(shown - pixels).max() <= tolerance
