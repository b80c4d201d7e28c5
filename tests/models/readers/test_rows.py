"""Moving rows in place gives what indexing gives."""

import numpy as np
import pytest

from models.readers.rows import permute_rows


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_permuting(count: int) -> None:
    rows = np.arange(3 * count).reshape(count, 3)
    order = np.random.default_rng(count).permutation(count)
    expected = rows[order]
    permute_rows(rows, order.tolist())
    np.testing.assert_array_equal(rows, expected)
