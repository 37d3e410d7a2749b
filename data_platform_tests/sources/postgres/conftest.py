"""Fixtures: one server for all tests of capture, a database and a home for each. Not here: what is in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_platform_tests.support.captured_shop import TABLES, Shop
from data_platform_tests.support.homes import Home
from data_platform_tests.support.source_database import SourceServer, connected, source_server


@pytest.fixture(scope="session")
def server() -> Iterator[SourceServer]:
    with source_server() as found:
        yield found


@pytest.fixture
def shop(server: SourceServer, home: Home) -> Iterator[Shop]:
    with server.database() as dsn:
        with connected(dsn) as admin:
            admin.execute(TABLES)
        found = Shop(dsn, home)
        try:
            yield found
        finally:
            found.close()
