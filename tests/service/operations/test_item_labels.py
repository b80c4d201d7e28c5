"""Labels of the items of a conditional model's collection: found, stored, read again, and those of a load of pictures."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from models import VAE, VAEConfig, checkpoint
from models.condition import Condition
from service.engine.device import Device, QueueLimits
from service.inference.inference import Inference
from service.inference.priors import NoSuchLabel
from service.inference.served_model import ServedModel, start_model
from service.inference.told import NoLabel, WrongLabels
from service.operations.item_labels import label_entries, label_in, of_some, stored_labels
from service.operations.items import Entries


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[ServedModel]:
    torch.manual_seed(0)
    condition = Condition("shape", ("round", "7"), (1, 1))
    checkpoint.save(tmp_path, VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [8]}, condition=condition)))
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=4, max_queue_rows=8, max_rows=4))
    device.start()
    yield await start_model("told", await asyncio.to_thread(checkpoint.read, tmp_path), device)
    await device.close()


def entries(*metadata: dict[str, object]) -> Entries:
    count, zeros = len(metadata), np.zeros((len(metadata), 3), np.float32)
    texts = [orjson.dumps(own) for own in metadata]
    return Entries([None] * count, [None] * count, zeros, zeros, np.zeros(count, np.bool_), texts, unstated={0})


def test_the_request_or_the_metadata_has_them(model: ServedModel) -> None:
    inference, items = Inference(model, label=("round",)), entries({}, {"note": 1})
    label_entries(model, inference, items)
    assert inference.label == ("round", "round")
    assert [orjson.loads(own) for own in items.metadata] == [{"shape": "round"}, {"note": 1, "shape": "round"}]
    assert (items.unstated, items.keys) == (set(), {"shape"})
    inference, items = Inference(model), entries({"shape": 7}, {"shape": "round"})
    label_entries(model, inference, items)
    assert inference.label == ("7", "round")
    assert orjson.loads(items.metadata[0]) == {"shape": 7}


@pytest.mark.parametrize(
    ("label", "metadata", "error", "reason"),
    [
        (None, {}, NoLabel, "item 0 has no label: .* one of round and 7"),
        (None, {"shape": "oval"}, NoSuchLabel, "no label 'oval'. Choose round or 7"),
        (None, {"shape": 7.5}, NoLabel, "item 0 has no label"),
        (("7",), {"shape": "round"}, WrongLabels, "has the label '7', but its metadata says 'round'"),
        (("7", "7"), {}, WrongLabels, "2 entries for 1 items"),
    ],
)
def test_what_is_refused(
    label: tuple[str, ...] | None, metadata: dict[str, object], error: type[Exception], reason: str, model: ServedModel
) -> None:
    with pytest.raises(error, match=reason):
        label_entries(model, Inference(model, label=label), entries(metadata))


def test_stored_items_have_them(model: ServedModel) -> None:
    assert stored_labels(model, ["a", "b"], [b'{"shape":7}', b'{"shape":"round"}']) == ("7", "round")
    with pytest.raises(NoLabel, match="the item 'b' has no shape in its metadata"):
        stored_labels(model, ["a", "b"], [b'{"shape":7}', b"{}"])
    assert label_in([], "shape") is None
    assert label_in({"shape": True}, "shape") is None


def test_some_items_have_their_own(model: ServedModel) -> None:
    inference = Inference(model, label=("7", "round", "7"))
    assert of_some(inference, [1, 2]).label == ("round", "7")
    one = Inference(model, label=("7",))
    assert of_some(one, [1, 2]) is one
