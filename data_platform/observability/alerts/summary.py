"""The message of the morning: what the checks said yesterday, what is open, how fresh the tables are, what came in.
Not here: when and to whom it is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import polars as pl

from data_platform.core.contract.calendar import minute_text
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Severity
from data_platform.core.lake.store import Lake
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.observability.alerts.episodes import Episode
from data_platform.observability.alerts.messages import Message, plain
from data_platform.observability.alerts.problems import PLATFORM, Level
from data_platform.observability.contracts import Freshness, FreshnessState

MOST_EPISODES = 10


def daily_summary(lake: Lake, episodes: Sequence[Episode], now: dt.datetime) -> Message:
    """Of the UTC day before `now`; the same id all day, so it is sent once."""
    day = now.date() - dt.timedelta(days=1)
    open_now = sorted(
        (e for e in episodes if e.closed_at is None), key=lambda e: (-e.problem.level, e.problem.since, e.problem.key)
    )
    lines = [_checks(lake, day), _freshness(lake, now), *_received(lake, day), f"Open: {len(open_now)}"]
    lines += [
        f"- [{e.problem.level}] {plain(e.problem.title, 120)}, since {minute_text(e.problem.since)}, {e.problem.owner}"
        for e in open_now[:MOST_EPISODES]
    ]
    if len(open_now) > MOST_EPISODES:
        lines.append(f"- and {len(open_now) - MOST_EPISODES} more: data-platform alerts list")
    title = f"[summary] {day}: {len(open_now)} open"
    return Message(f"summary {now.date()}", Level.INFO, PLATFORM, title, "\n".join(lines), not open_now)


def _checks(lake: Lake, day: dt.date) -> str:
    found = lake.scan(CheckResults, day, day).group_by("status", "severity").len().collect()
    if found.is_empty():
        return f"Checks on {day}: none"

    def count(status: Status, severity: Severity | None = None) -> int:
        wanted = pl.col("status") == status.value
        if severity is not None:
            wanted &= pl.col("severity") == severity.value
        return int(found.filter(wanted)["len"].sum())

    failed = ", ".join(f"{count(Status.FAILED, severity):,} {severity}" for severity in Severity)
    return (
        f"Checks on {day}: {int(found['len'].sum()):,} run, {count(Status.PASSED):,} passed, failed: {failed}, "
        f"{count(Status.ERRORED):,} crashed, {count(Status.NOT_JUDGED):,} without enough history"
    )


def _freshness(lake: Lake, now: dt.datetime) -> str:
    looks = lake.scan(Freshness, now.date() - dt.timedelta(days=1))
    newest = looks.sort("recorded_at").unique("asset", keep="last").collect()
    counted = dict(newest["state"].value_counts().iter_rows())
    counts = ", ".join(f"{counted[state.value]} {state.value.replace('_', ' ')}" for state in FreshnessState
                     if state.value in counted)  # fmt: skip
    return f"Tables now: {counts or 'freshness is not recorded'}"


def _received(lake: Lake, day: dt.date) -> Iterator[str]:
    counts = [pl.sum("received_lines"), pl.sum("stored_lines"), pl.sum("rejected_lines")]
    rows = lake.scan(IngestionLedger, day, day).group_by("source").agg(counts).sort("source").collect()
    if rows.is_empty():
        yield f"Received on {day}: nothing"
    for source, received, stored, rejected in rows.iter_rows():
        yield f"Received on {day}: {source} {received:,} lines = {stored:,} stored + {rejected:,} rejected"
