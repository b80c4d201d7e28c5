"""Arguments with which no client can be made, and the API key."""

import re
from collections.abc import Callable

import httpx
import numpy as np
import pytest
import vae_client
from vae_client import calls

from tests.client.calling import WAYS, Script, calling


@pytest.mark.parametrize("kind", [vae_client.Client, vae_client.AsyncClient])
def test_addresses(kind: Callable[[str], object]) -> None:
    for wrong in (
        "localhost:8000",
        "",
        "http://",
        "ftp://x",
        "http:/x",
        "//x:80",
        " http://x",
        "http://x\n",
        "::1",
        "http://x?a=1",
    ):
        with pytest.raises(ValueError, match=re.escape(f"the address of the service is {wrong!r}")):
            kind(wrong)
    for right in ("http://x", "https://x/", "http://x:80/vae", "HTTP://x/vae/", "http://[::1]:8000"):
        kind(right)


@pytest.mark.parametrize("address", ["ftp://me:hidden@host", "http://me:hid@den@host:x", "http://me:hidden@host?query"])
def test_no_password_is_shown(address: str) -> None:
    with pytest.raises(ValueError, match="the address of the service is") as raised:
        vae_client.Client(address)
    assert "hid" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("kind", [vae_client.Client, vae_client.AsyncClient])
def test_arguments_that_cannot_be_right(kind: Callable[..., object]) -> None:
    wrongs: list[tuple[str, object, str]] = [
        ("api_key", "", "the API key is empty; pass None for none"),
        ("api_key", " \n", "is empty"),
        *(("api_key", f"SECRET{wrong}SECRET", "the API key has") for wrong in ("ü", "\n", " ", "\0")),
        ("headers", {"X-Key": "SECRET\n"}, "the header X-Key has"),
        *(("timeout", wrong, "timeout must be") for wrong in (None, 0, float("inf"), float("nan"), "5")),
        *(("retry_seconds", wrong, "retry_seconds must be") for wrong in (None, -1, float("nan"))),
        *(("connections", wrong, "connections must be") for wrong in (None, 0, 1.5)),
    ]
    for name, wrong, message in wrongs:
        with pytest.raises(ValueError, match=message) as caught:
            kind("http://x", **{name: wrong})
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("label", [7, "7"])
def test_a_label_is_sent_with_both_requests_of_a_sample(label: str | int) -> None:
    options = calls.Options(label=label)
    drawn = vae_client.Decoded(np.zeros((3, 8, 8, 1), np.uint8), "mnist", "0", 7, "aggregate")
    for call in (
        calls.sample(3, options, 7, None, None, None, "uint8"),
        calls.latents_of_sample(drawn, options, None, ["z"]),
    ):
        assert (call.params["label"], call.params["seed"]) == ("7", 7)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_was_read_from_a_file(way: str) -> None:
    script = Script(httpx.Response(200, json={}))
    with calling(way, "http://x", api_key="SECRET\n", transport=script.transport()) as client:
        client.info()
        with pytest.raises(ValueError, match="the header X-Key has"):
            client.request("GET", "/info", headers={"X-Key": "SECRET\n"})
    assert script.requests[0].headers["authorization"] == "Bearer SECRET"
