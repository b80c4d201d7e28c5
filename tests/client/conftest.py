"""One running service of the shipped `mnist`, and real digits."""

from collections.abc import Iterator

import numpy as np
import pytest
from vae_client import Client

from tests.client.calling import WAYS, calling
from tests.live.pictures import Pixels
from tests.live.server import ROOT, Server, serving


@pytest.fixture(scope="session")
def digits() -> Pixels:
    """Real digits, (256, 28, 28)."""
    with np.load(ROOT / "tests" / "data" / "digits.npz") as arrays:
        images: Pixels = arrays["images"]
    return images


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A service that is open to everybody."""
    with serving(variables={"VAE_MODELS": "mnist"}) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    """A client of it: the synchronous one, and the asynchronous one."""
    with calling(request.param, server.url) as one:
        yield one
