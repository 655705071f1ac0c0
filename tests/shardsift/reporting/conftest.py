"""Chromium, in which pages are opened as a person would."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""Flags of Chromium in a container."""

OpenPage = Callable[..., Page]
"""Opens a page of HTML: its text, what follows the `#`, and options of Playwright's contexts."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; a module has one for itself, for it keeps an event loop running."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[OpenPage]:
    """Open pages; a page that logs an error or makes a request fails the test."""
    complaints: list[str] = []

    def tell(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def note(request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", page_url)):
            complaints.append(f"asks for {request.url}")

    page_url = (tmp_path / "page.html").as_uri()

    def open_one(html: str, fragment: str = "", **options: Any) -> Page:
        (tmp_path / "page.html").write_text(html)
        context = chromium.new_context(**options)
        page = context.new_page()
        page.on("console", tell)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", note)
        page.goto(page_url + fragment)
        page.locator("html[data-ready]").wait_for(state="attached")
        return page

    yield open_one
    for context in chromium.contexts:
        context.close()
    assert complaints == []
