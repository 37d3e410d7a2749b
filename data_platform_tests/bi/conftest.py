"""One PostgreSQL for the tests of a file, started over for each. Not here: what is published (published_lake)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_platform_tests.support.published_lake import Server, analytics_server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with analytics_server() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.start_over()
