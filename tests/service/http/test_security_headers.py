"""Headers of pages: the scripts of /docs run, others do not, nobody frames it; other answers are as they were."""

import base64
import hashlib
import re

import httpx

from service.http.security_headers import headers_of


async def test_the_documentation_allows_its_own_scripts_only(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    policy = answer.headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["frame-ancestors"], rules["base-uri"]) == ("'none'", "'none'", "'none'")
    assert "unsafe" not in rules["script-src"]
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert scripts
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in rules["script-src"]
    assert re.findall(r'src="(.*?)"', answer.text) == ["static-offline-docs/swagger-ui-bundle.js"]
    assert (answer.headers["x-frame-options"], answer.headers["referrer-policy"]) == ("DENY", "no-referrer")
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_other_answers_have_no_policy(client: httpx.AsyncClient) -> None:
    for path in ("/", "/openapi.json", "/models", "/sample", "/nothing", "/static-offline-docs/swagger-ui.css"):
        answer = await client.get(path)
        assert "content-security-policy" not in answer.headers, path


def test_a_page_without_scripts() -> None:
    assert dict(headers_of(b"<p>nothing</p>"))[b"content-security-policy"].endswith(b"script-src 'self'")
