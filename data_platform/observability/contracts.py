"""Contracts of what is recorded about the quality of all tables.
Not here: verdicts (core/quality/verdict_ledger), how any of it is worked out."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

from data_platform.core.contract.table import Table, column, within
from data_platform.core.quality.verdict_ledger import CheckResults

OWNER = "team:data-platform"
FRESH_RULE = "fresh"
"""Name of the freshness verdicts in the verdict ledger."""


class FreshnessState(StrEnum):
    """`stale` is past the warning bound, `critical` past the failing one; `not_built` has nothing to judge."""

    FRESH = "fresh"
    STALE = "stale"
    CRITICAL = "critical"
    NOT_BUILT = "not_built"


class Freshness(Table):
    """How fresh every table with a freshness promise was, looked at every few minutes: judged by event time, never by
    when a run wrote."""

    key = "quality/freshness"
    partition = "recorded_date"
    primary_key = ("recorded_date", "asset", "recorded_at")
    owner = OWNER
    sorted = False
    journal = True

    recorded_date: dt.date = column("UTC day of the look.")
    recorded_at: dt.datetime = column("When it was looked at.")
    asset: str = column("Table, for example `clean/player_events`.", min_length=1)
    state: str = column("`fresh`, `stale`, `critical` or `not_built`.", isin=list(FreshnessState))
    newest_partition: dt.date | None = column("Newest day that is there.")
    expected_partition: dt.date | None = column("Newest day that should be there by now.")
    watermark: dt.datetime | None = column("All events up to this moment are in the table.")
    age_seconds: float | None = column(
        "Time since the moment up to which everything is there; the silence of a living source does not count.",
        unit="s",
        ge=0,
    )
    reason: str = column("One sentence: why it is in this state.")


class DailyReport(Table):
    """What the checks said on a day, in one row."""

    key = "quality/daily_report"
    partition = "report_date"
    primary_key = ("report_date",)
    owner = OWNER
    fresh = within(hours=26)

    report_date: dt.date = column("UTC day of the verdicts.")
    rules_run: int = column("Verdicts reached.", ge=0, derived_from=[CheckResults.status])
    passed: int = column("Of them passed.", ge=0, derived_from=[CheckResults.status])
    failed_error: int = column("Failed with severity error.", ge=0, derived_from=[CheckResults.severity])
    failed_warning: int = column("Failed with severity warning.", ge=0, derived_from=[CheckResults.severity])
    failed_info: int = column("Failed with severity info.", ge=0, derived_from=[CheckResults.severity])
    errored: int = column("Checks that crashed.", ge=0, derived_from=[CheckResults.status])
    not_judged: int = column("Checks without enough history.", ge=0, derived_from=[CheckResults.status])
    tables: int = column("Tables judged.", ge=0, derived_from=[CheckResults.asset])
    partitions: int = column("Days of tables judged.", ge=0, derived_from=[CheckResults.asset_partition])
    runs: int = column("Dagster runs that judged.", ge=0, derived_from=[CheckResults.run_id])


class ServiceLevels(Table):
    """What was promised and what was kept, per day: one row per service level."""

    key = "quality/service_levels"
    partition = "level_date"
    primary_key = ("level_date", "name")
    owner = OWNER
    fresh = within(hours=26)

    level_date: dt.date = column("UTC day that was measured.")
    name: str = column("For example `tables_fresh`.", min_length=1)
    value: float | None = column("What was measured; null when there was nothing to measure.")
    goal: float | None = column("What was promised; null for what is only recorded.")
    at_least: bool = column("True when the value should reach the goal, false when it should stay below.")
    met: bool | None = column("Whether the promise was kept; null without a value or a goal.")
    unit: str = column("For example `share`, `s`, `B`.")
    description: str = column("What is measured, in one sentence.")
