"""Paths without an endpoint: the message names what lists those of the same door, also under a root path."""

import pytest

from service.http.nothing_here import NothingHere


@pytest.mark.parametrize(
    ("path", "root_path", "words"),
    [
        ("/nothing", "", "/docs lists all endpoints"),
        ("/v2x", "", "/docs lists all endpoints"),
        ("/", "", "/docs lists all endpoints"),
        ("/v2/modelz", "", "docs/open-inference.md lists those of the Open Inference Protocol"),
        ("/vae/v2/modelz", "/vae", "docs/open-inference.md lists those of the Open Inference Protocol"),
        ("/vae/diffusers", "/vae", "docs/diffusers.md lists those of /diffusers"),
        ("/explore/x", "", "docs/explore.md describes the page at /explore"),
    ],
)
def test_the_message_says_where_the_endpoints_are_listed(path: str, root_path: str, words: str) -> None:
    assert str(NothingHere(path, root_path)) == f"there is no endpoint at {path}; {words}"
