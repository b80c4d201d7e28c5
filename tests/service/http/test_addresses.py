"""Configured origins, host names, proxies and root paths: those that would silently do nothing are refused."""

import re
from collections.abc import Callable

import pytest

from service.http.addresses import check_host_name, check_origin, check_proxy, check_root_path


@pytest.mark.parametrize(
    ("check", "value"),
    [
        *((check_origin, one) for one in ("*", "null", "https://app.example", "http://localhost:3000", "http://127.0.0.1")),
        *((check_origin, one) for one in ("http://[::1]:8080", "https://xn--mnchen-3ya.example", "chrome-extension://abc")),
        *((check_origin, one) for one in ("http://a_b.example.", "app://.", "http://1.2.3.4:8080", "https://10.example")),
        *((check_host_name, one) for one in ("*", "vae.example", "VAE.example.", "10.0.0.1")),
        *((check_proxy, one) for one in ("*", "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8")),
        *((check_root_path, one) for one in ("", "/", "/vae", "/vae/", "/a/b-c_d.e~f", "/..a/.b")),
    ],
)
def test_what_is_right(check: Callable[[str], None], value: str) -> None:
    check(value)


@pytest.mark.parametrize(
    ("check", "value", "reason"),
    [
        (check_origin, "https://app.example/", "it has no path and no slash at the end; write https://app.example"),
        (check_origin, "https://app.example/page", "it has no path and no slash at the end; write https://app.example"),
        (check_origin, "app.example", "the scheme is missing; write https://app.example or http://app.example"),
        (check_origin, "localhost:3000", "the scheme is missing; write https://localhost:3000 or http://localhost:3000"),
        (check_origin, "https://a.example https://b.example", "it contains a space; separate several origins by commas"),
        (check_origin, "https://*.example", "* stands for all origins only alone"),
        (check_origin, "https://App.example", "write https://app.example"),
        (check_origin, "https://app.example:443", "write https://app.example"),
        (check_origin, "https://münchen.example", "write https://xn--mnchen-3ya.example"),
        (check_origin, "https://user@app.example", "write scheme://host"),
        (check_origin, '["https://app.example"]', "write scheme://host"),
        (check_origin, "https://", "write scheme://host"),
        (check_origin, "http://localhost:99999", "a port can be at most 65535"),
        (check_origin, "http://a.example:080", "write http://a.example"),
        (check_origin, "http://a.example:08080", "write http://a.example:8080"),
        (check_origin, "http://127.1", "write http://127.0.0.1"),
        (check_origin, "http://0x7f.1", "write http://127.0.0.1"),
        (check_origin, "http://256.1.1.1", "'256.1.1.1' is neither a host name nor an IP address"),
        (check_origin, "http://[0:0:0:0:0:0:0:1]:80", "write http://[::1]"),
        (check_origin, "http://[::1::]", "'[::1::]' is neither a host name nor an IP address"),
        *(
            (check_origin, f"http://{host}", f"{host!r} is neither a host name nor an IP address")
            for host in ("a..b", ".a", "a%20b", "münchen..example", "a.1.2")
        ),
        (check_host_name, ".example", "write it without scheme, port, path, * and a dot at the start"),
        (check_host_name, "münchen.example", "in ASCII"),
        (check_root_path, "/..", "must be a path without the parts '.' and '..'"),
        (check_root_path, "/.", "must be a path without the parts '.' and '..'"),
        (check_root_path, "/vae/../", "must be a path without the parts '.' and '..'"),
        (check_host_name, "https://vae.example", "write it without scheme, port, path, *"),
        (check_host_name, "vae.example:8000", "write it without scheme, port, path, *"),
        (check_host_name, "*.example", "write it without scheme, port, path, *"),
        (check_proxy, "nginx", "'nginx' is not an IP address, a network such as 10.0.0.0/8, or *"),
        (check_proxy, "10.0.0.1/8", "has host bits set"),
        (check_root_path, "vae", "must be a path such as /vae"),
        (check_root_path, "https://example.org/vae", "must be a path such as /vae"),
        (check_root_path, "//vae", "must be a path such as /vae"),
        (check_root_path, "/va e", "must be a path such as /vae"),
    ],
)
def test_what_is_refused(check: Callable[[str], None], value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        check(value)
