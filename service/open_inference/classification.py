"""Triton's classification extension: of each item the largest numbers of an output, as text with their places.

Knows nothing of requests.
"""

import numpy as np

from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.tensors import Tensor, strings

# An answer has at most so many.
MOST_CLASSES = 1 << 18


def largest(tensor: Tensor, count: int) -> Tensor:
    """Return BYTES [N, count], "value:index" in falling order of the values; fewer if the items are smaller.

    The output must be numbers, [N, ...]. Raises BadRequest.
    """
    if tensor.datatype == BYTES:
        raise BadRequest(f"output {tensor.name!r} is BYTES, and classification is for numbers; leave it out")
    items = tensor.numbers.reshape(tensor.shape[0], -1)
    count = min(count, items.shape[1])
    if len(items) * count > MOST_CLASSES:
        raise BadRequest(
            f"output {tensor.name!r}: {len(items)} items of {count} classes each are more than {MOST_CLASSES}; ask for fewer"
        )
    places = np.argsort(-items.astype(np.float64), 1, kind="stable")[:, :count]
    form = "%f:%d" if items.dtype.kind == "f" else "%d:%d"
    values = np.take_along_axis(items, places, 1)
    found = [(form % pair).encode() for pair in zip(values.ravel().tolist(), places.ravel().tolist(), strict=True)]
    return strings(tensor.name, found, (len(items), count))
