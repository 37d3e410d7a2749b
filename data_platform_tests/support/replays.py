"""Homes with rejected lines, and replays of them without Dagster. Not here: what they must give (test_replay)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents, RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.ingestion import carry_out
from data_platform.sources.landing import Landing
from data_platform.sources.line_parser import LineParser
from data_platform.sources.replay import plan_replay
from data_platform_tests.support import SUPPORT
from data_platform_tests.support.homes import FIRST_DAY, Home, line

HELPER = str(SUPPORT.joinpath("kill_helper.py"))
TOO_LATE = FIRST_DAY + dt.timedelta(3)
"""The first day that was configured by mistake."""
FUTURE = "timestamp_in_future"
BEFORE = "timestamp_before_first_day"
EVERYTHING = pl.lit(True)
BROKEN: tuple[bytes, ...] = (
    line(player_id=None, timestamp=f"{FIRST_DAY}T08:00:00Z").encode(),
    b"{broken",
    b"",
    b'{"event_id": "\xff"}',
    b"[1, 2]\r",
)


def at(day: int, name: str = "e", **changes: Any) -> bytes:
    return line(event_id=f"{name}-{day}", timestamp=f"{FIRST_DAY + dt.timedelta(day)}T10:00:00Z", **changes).encode()


def two_files() -> dict[str, bytes]:
    """Good lines of six days, half of them before TOO_LATE, among broken ones; some lines are in both files."""
    one = [at(day, name) for day in range(6) for name in ("ann", "bob")]
    other = [at(0, "ann"), *BROKEN, at(1, extra="ü\u2028"), at(5), BROKEN[0]]
    return {"one.ndjson": b"\n".join([*BROKEN, *one]) + b"\n", "other.ndjson": b"\n".join(other)}


def landing_with(home: Home, first_day: dt.date, lake: Lake | None = None) -> Landing:
    parser = LineParser(PLAYER_EVENTS, first_day, dt.timedelta(minutes=10))
    return Landing(PLAYER_EVENTS, home.landing, lake or home.lake, parser)


def take_in(home: Home, files: Mapping[str, bytes], first_day: dt.date) -> None:
    """Ingest the files, each as a batch of its own."""
    for name, content in files.items():
        home.drop(name, content)
        carry_on(landing_with(home, first_day))


def carry_on(landing: Landing) -> None:
    with landing.locked():
        for plan in landing.batches():
            carry_out(landing, plan)
            landing.finish(plan)


def replay(landing: Landing, chosen: pl.Expr = EVERYTHING, limit: int = 1000) -> None:
    """A whole replay without Dagster."""
    after = None
    while True:
        with landing.locked():
            planned = plan_replay(landing, chosen, after, limit)
        carry_on(landing)
        after = planned.last
        if after is None:
            return


def received(home: Home) -> dict[str, list[dict[str, Any]]]:
    """The three tables without what differs between any two homes."""
    tables = (RawPlayerEvents, RawPlayerEventsRejected, IngestionLedger)
    volatile = ("received_at", "received_date", "batch")
    return {t.key: sorted(home.rows(t).drop(volatile, strict=False).to_dicts(), key=repr) for t in tables}


def assert_balanced(home: Home) -> None:
    """Per file received = stored + rejected, and both are what is in the tables; no row twice."""
    raw, ledger = home.raw(), home.ledger()
    assert raw.select(pl.struct(RawPlayerEvents.primary_key).is_unique().all()).item()
    assert home.rejected().select(pl.struct(RawPlayerEventsRejected.primary_key).is_unique().all()).item()
    for row in ledger.filter(source="player_events").iter_rows(named=True):
        assert row["received_lines"] == row["stored_lines"] + row["rejected_lines"]
        stored = raw.filter(source_file=row["source_file"], received_at=row["received_at"])
        assert len(stored) == row["stored_lines"]
        assert len(home.rejected().filter(file_digest=row["file_digest"])) == row["rejected_lines"]
        assert (row["first_day"], row["last_day"]) == (stored["event_date"].min(), stored["event_date"].max())


def waiting_plans(home: Home) -> list[str]:
    return sorted(path.name for path in (home.landing / "player_events" / "_plans").glob("*.*"))
