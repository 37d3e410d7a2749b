"""Fixtures of tests that take files in. Not here: homes (the conftest above), helpers (support)."""

from __future__ import annotations

import pytest

from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.ingestion import landing_of
from data_platform.sources.landing import Landing
from data_platform_tests.support.homes import Home


@pytest.fixture
def landing(home: Home) -> Landing:
    """The folder of player events."""
    return landing_of(PLAYER_EVENTS, home.lake, home.landing)
