"""Many picture files at once: each is decoded as if it were alone, and not all are in memory."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from models.preprocess import Invert, Pixels
from service.inference.inference import Inference
from service.inference.kinds import picture_files
from service.inference.kinds.picture_files import decode_each
from service.inference.pipeline import Pipeline
from tests.service.png_files import pixels_of, plain


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    """One for pictures that are too large to be decoded in this process."""
    pipeline.max_pixels = pipeline.decoders.max_pixels = 100_000
    return pipeline


def saved(kind: str, side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(side * side, dtype=np.uint8).reshape(side, side)).save(out, kind)
    return out.getvalue()


GREY = pixels_of(1, 8, 8)
BLANK = np.full((8, 8, 1), 7, np.uint8)
MIXED: list[bytes | str] = [
    *(plain(GREY), plain(GREY, (4, 3)), saved("JPEG"), "it is a pipe", plain(BLANK), saved("BMP", 64)),
    *(plain(GREY)[:40], b"nothing", plain(BLANK, (1,)), saved("JPEG", 300), plain(pixels_of(3, 8, 8)), b"GIF89a", plain(GREY)),
]


def seen(inference: Inference) -> list[tuple[int, str]]:
    return [(warning.item, warning.code) for warning in inference.warnings.found]


@pytest.mark.parametrize("invert", ["no", "yes", "auto"])
@pytest.mark.parametrize("together", [1, 2 * 64, 1 << 20], ids=["one by one", "in twos", "together"])
async def test_each_is_decoded_as_if_it_were_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, together: int, invert: Invert
) -> None:
    monkeypatch.setattr(picture_files, "TOGETHER", together)
    model = pipeline.catalog.get("grey")
    pixels, reasons, warnings = list[Pixels](), dict[int, str](), list[tuple[int, str]]()
    for i, one in enumerate(MIXED):
        own = Inference(model, invert=invert)
        alone = await decode_each(pipeline, [one], 1, own)
        if alone.reasons:
            reasons[i] = alone.reasons[0]
            continue
        warnings += [(len(pixels), code) for _, code in seen(own)]
        pixels.append(alone.pixels[0])
    inference = Inference(model, invert=invert)
    found = await decode_each(pipeline, iter(MIXED), len(MIXED), inference)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert list(found.reasons.items()) == list(reasons.items())
    assert found.readable == [i for i in range(len(MIXED)) if i not in reasons]
    assert seen(inference) == warnings
    assert list(reasons) == [3, 6, 7, 11]
    assert [code for _, code in warnings if code == "blank"] == ["blank", "blank"]
    assert (found.pixels[0] == (GREY if invert == "no" else 255 - GREY)[..., 0]).all() or invert == "auto"


async def test_only_some_large_files_are_in_memory_at_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    large, read = saved("JPEG", 300), 0
    monkeypatch.setattr(picture_files, "FILE_BYTES", 2 * len(large) - 1)
    decode, begun = pipeline.decoders.decode, list[int]()

    async def watched(*arguments: object, **named: object) -> tuple[Pixels, int]:
        begun.append(read)
        return await decode(*arguments, **named)  # type: ignore[arg-type]

    def contents() -> Iterator[bytes]:
        nonlocal read
        for _ in range(5):
            read += 1
            yield large

    monkeypatch.setattr(pipeline.decoders, "decode", watched)
    found = await decode_each(pipeline, contents(), 5, Inference(pipeline.catalog.get("grey")))
    assert begun == [2, 2, 4, 4, 5]
    assert (found.readable, len(np.unique(found.pixels, axis=0))) == ([0, 1, 2, 3, 4], 1)
