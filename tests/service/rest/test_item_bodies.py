"""What a body brings to a collection, where HTTP tests do not come: posteriors of a model that is broken."""

import numpy as np
import pytest

from service.formats.errors import Unusable
from service.rest.item_bodies import Entries


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_posterior_that_is_not_finite_is_not_stored(value: float) -> None:
    blank = np.zeros((3, 2), np.float32)
    entries = Entries([None] * 3, [b"1", None, b"2"], blank, blank.copy(), np.zeros(3, np.bool_), [b"{}"] * 3)
    rows = np.ones((2, 3, 2), np.float32)
    entries.encoded(rows)
    assert entries.has_sigma.tolist() == [True, False, True]
    rows[1, 1, 0] = value
    with pytest.raises(Unusable, match="not finite") as error:
        entries.encoded(rows)
    assert error.value.item == 2
