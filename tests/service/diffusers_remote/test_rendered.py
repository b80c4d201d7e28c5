"""Pictures as diffusers postprocesses them, compared with its own processor."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from service.diffusers_remote.rendered import ImageFormat, as_file, denormalised, unprocessed
from service.formats.pictures import to_uint8


@pytest.fixture
def decoded() -> torch.Tensor:
    """Pictures as AutoencoderKL makes them, with values beyond -1 and 1."""
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def here(decoded: torch.Tensor) -> Any:
    """The same as the service has them."""
    return (decoded / 2 + 0.5).permute(0, 2, 3, 1).numpy()


def test_values_are_those_of_the_processor(decoded: torch.Tensor) -> None:
    processor = VaeImageProcessor()
    expected = processor.postprocess(decoded, output_type="pt")
    np.testing.assert_array_equal(denormalised(here(decoded)), expected)
    np.testing.assert_allclose(unprocessed(here(decoded)), decoded, atol=3e-7)
    pictures = [np.asarray(one) for one in processor.postprocess(decoded, output_type="pil")]
    np.testing.assert_array_equal(to_uint8(here(decoded)), pictures)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("image_format", "written", "tolerance"), [("png", "PNG", 0), ("jpg", "JPEG", 8)])
def test_files_show_the_picture(image_format: ImageFormat, written: str, tolerance: int, channels: int) -> None:
    y, x, c = np.mgrid[:32, :40, :channels]
    pixels = (4 * y + 2 * x + 20 * c).astype(np.uint8)
    with Image.open(io.BytesIO(as_file(pixels, image_format))) as picture:
        assert (picture.format, picture.size) == (written, (40, 32))
        shown = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(shown - pixels).max() <= tolerance
