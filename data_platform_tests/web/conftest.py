"""Fixtures: one real browser for all tests of pages in it. Not here: how it is spoken to (support/browser)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from data_platform_tests.support.browser import Browser


@pytest.fixture(scope="session")
def started_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from data_platform_tests.support.browser import browsing

    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def browser(started_browser: Browser) -> Iterator[Browser]:
    """On a desk, light; what the test changes of it is forgotten. Nothing may complain."""
    from data_platform_tests.support.browser import DESKTOP

    started_browser.faults.clear()
    started_browser.look()
    started_browser.resize(DESKTOP)
    yield started_browser
    started_browser.ask("Page.navigate", url="about:blank")
    assert not started_browser.faults
