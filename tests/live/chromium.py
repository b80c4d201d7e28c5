"""Debian's Chromium, driven by Playwright, and what goes wrong on a page. Knows nothing of what the pages show."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

# without its windows, which cost three times as much processor time for each page, if that is installed
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
# A sandbox needs rights that containers lack, and /dev/shm is small there.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
# far more than a page takes; only a defect gets there
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the browser, and end it. Without one, skip the test, except in continuous integration, where it must run.

    Playwright's event loop runs in the thread of the tests until the end of the block, and asynchronous tests cannot: a
    fixture that holds the browser must not outlive a file of tests.
    """
    if CHROMIUM is None:
        missing = "no browser: apt-get install chromium-headless-shell"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """What a page says and loads. `troubles`: errors of its scripts, failed answers, and what another host was asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.troubles: list[str] = []
        self.responses: list[Response] = []
        self._host = httpx.URL(url).netloc.decode()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(f"error of a script: {error}"))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # The browser says once more here that a request failed.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.troubles.append(f"{message.type} in the console: {message.text}")

    def _asked(self, request: Request) -> None:
        url = httpx.URL(request.url)
        if url.scheme not in ("data", "blob") and url.netloc.decode() != self._host:
            self.troubles.append(f"another host: {request.url}")

    def _answered(self, response: Response) -> None:
        self.responses.append(response)
        if response.status >= 400:
            self.troubles.append(f"{response.status}: {response.request.method} {response.url}")

    def expect(self, *parts: str) -> None:
        """Forget the troubles that contain one of these texts; each text must be in one of them."""
        for part in parts:
            found = [trouble for trouble in self.troubles if part in trouble]
            assert found, f"no trouble {part!r} in {self.troubles}"
            self.troubles = [trouble for trouble in self.troubles if trouble not in found]


def grave_findings(page: Page) -> list[tuple[str, list[str]]]:
    """Return what axe-core finds serious or critical on a page: (rule, elements)."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")]


@contextmanager
def watching(browser: Browser, url: str, **options: Any) -> Iterator[tuple[Page, Watched]]:
    """Open an empty page for a service, whose paths need no host. At the end no trouble may be left that was not expected."""
    with browser.new_context(base_url=url, **options) as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watched = Watched(page, url)
        yield page, watched
        assert not watched.troubles, "\n".join(watched.troubles)
