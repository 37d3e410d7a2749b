"""What is shown of a landing source while it arrives: declared by its domain, counted and served by the live view.
Belongs here: the declaration alone. Not here: reading segments (tail), counting and pages (web/live)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.windows import Windows
from data_platform.sources.landing_source import LandingSource

FACTS = pl.Schema(
    {
        "id": pl.UInt64(),
        "at": pl.Int64(),
        "kind": pl.String(),
        "place": pl.String(),
        "actor": pl.String(),
        "session": pl.UInt64(),
        "points": pl.Float64(),
    }
)
"""What the live view counts of an event: `id`, equal for copies of one event; `at`, its time in microseconds since
1970; its type; where it happened, or null; who acted; a hash of the session, or null; what it is worth."""


@dataclass(frozen=True)
class LiveView:
    """One live page of a source. A domain names its own `LIVE` in a module called `live_view`."""

    source: LandingSource
    windows: Windows
    facts: Callable[[pl.DataFrame], pl.DataFrame]
    """Rows of the source's raw table → FACTS of those that count, one each, in the same order; duplicates included."""
    recorded: LandingSource
    """Where each closed window is written to, one line per type and place and one for all (without type)."""
    compared: str
    """Key of the table in which closed windows are held against what the tables say."""
    place: str = "place"
    """What `place` is called on the page."""
