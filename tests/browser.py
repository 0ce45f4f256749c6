"""Debian's Chromium without a window, driven by Playwright.

require()
with browser() as chromium:
    page = chromium.new_page(color_scheme="dark")
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.syslog_daemon import require_there

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """Where Chromium is installed."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def require() -> None:
    """Skip the test where Chromium is missing, or fail it where CI wants it there."""
    require_there(
        there=find() is not None,
        reason="needs Debian's chromium: apt-get install --no-install-recommends chromium",
    )


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that ends with the context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not start for root, nor in most containers.
        chromium = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        yield chromium
        chromium.close()
