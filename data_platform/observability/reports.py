"""What a day was like in numbers: what the checks said, and which service levels were kept.
Belongs here: pure functions over frames and counts. Not here: collecting them (observations), Dagster (assets)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Severity
from data_platform.core.quality.validation import Status
from data_platform.observability.contracts import DailyReport, FreshnessState, ServiceLevels

STORAGE_BYTES = "storage_bytes"
MONTH_DAYS = 30
LONGEST_MONTH_DAYS = 35
"""Growth is measured from the newest day this far back; days on which nothing was recorded do not end the history."""


@dataclass(frozen=True)
class ServiceLevel:
    """What is promised of a day; without a goal it is only recorded."""

    name: str
    goal: float | None
    at_least: bool
    unit: str
    description: str


SERVICE_LEVELS = (
    ServiceLevel(
        "tables_fresh",
        0.999,
        True,
        "share",
        "Looks of the day at which a table with a freshness promise was fresh, of all looks at tables that are built.",
    ),
    ServiceLevel(
        "job_success", 0.9995, True, "share", "Runs that succeeded, of the day's runs that ended by themselves."
    ),
    ServiceLevel(
        "event_to_feature",
        900.0,
        False,
        "s",
        "Median over the looks of the day: age of the newest moment up to which all events are in the feature tables, "
        "by the slowest of them.",
    ),
    ServiceLevel(
        "valid_rows",
        0.99,
        True,
        "share",
        "Lines received on the day less lines rejected at receipt and rows of the day rejected later, of all lines.",
    ),
    ServiceLevel(
        "storage_growth",
        0.10,
        False,
        "share",
        f"Growth of the live files of all tables since {MONTH_DAYS} days before; empty until there is such a day.",
    ),
    ServiceLevel(STORAGE_BYTES, None, False, "B", "Size of the live files of all tables when the day was measured."),
)
"""The service levels, in the order they are shown."""


@dataclass(frozen=True)
class DayFacts:
    """What a service level of a day needs beside recorded frames."""

    day: dt.date
    runs_succeeded: int
    runs_failed: int
    lines_received: int
    rejected: int
    stored_bytes: int | None
    """None for a day that is measured too late to know."""


def daily_report(results: pl.LazyFrame, days: Iterable[dt.date]) -> pl.LazyFrame:
    """In: CheckResults of the days. Out: DailyReport, one row per day, with zeros for a day without verdicts."""

    def counted(status: Status, severity: Severity | None = None) -> pl.Expr:
        wanted = pl.col("status") == status
        return (wanted if severity is None else wanted & (pl.col("severity") == severity)).sum().cast(pl.Int64)

    found = results.group_by(report_date="recorded_date").agg(
        rules_run=pl.len().cast(pl.Int64),
        passed=counted(Status.PASSED),
        failed_error=counted(Status.FAILED, Severity.ERROR),
        failed_warning=counted(Status.FAILED, Severity.WARNING),
        failed_info=counted(Status.FAILED, Severity.INFO),
        errored=counted(Status.ERRORED),
        not_judged=counted(Status.NOT_JUDGED),
        tables=pl.col("asset").n_unique().cast(pl.Int64),
        partitions=pl.struct("asset", "asset_partition").n_unique().cast(pl.Int64),
        runs=pl.col("run_id").n_unique().cast(pl.Int64),
    )
    reported = pl.LazyFrame({"report_date": list(days)}, schema={"report_date": pl.Date})
    counts = pl.exclude("report_date")
    return (
        reported.join(found, on="report_date", how="left", maintain_order="left")
        .with_columns(counts.fill_null(0))
        .select(list(DailyReport.columns))
    )


def service_levels(
    looks: pl.DataFrame, recorded: pl.DataFrame, facts: DayFacts, features: Iterable[str]
) -> pl.DataFrame:
    """The levels of one day.

    In: Freshness of the day, ServiceLevels of the days before it, counts of the day, and the keys of the tables that
    events must reach. Out: ServiceLevels, one row per level; null where there was nothing to measure.
    """
    built = looks.filter(pl.col("state") != FreshnessState.NOT_BUILT)
    values = {
        "tables_fresh": _share(len(built.filter(pl.col("state") == FreshnessState.FRESH)), len(built)),
        "job_success": _share(facts.runs_succeeded, facts.runs_succeeded + facts.runs_failed),
        "event_to_feature": _median_of_slowest(built.filter(pl.col("asset").is_in(list(features)))),
        "valid_rows": _share(max(facts.lines_received - facts.rejected, 0), facts.lines_received),
        "storage_growth": _growth(recorded, facts),
        STORAGE_BYTES: facts.stored_bytes,
    }
    rows = [
        {
            "level_date": facts.day,
            "name": level.name,
            "value": values[level.name],
            "goal": level.goal,
            "at_least": level.at_least,
            "met": _met(level, values[level.name]),
            "unit": level.unit,
            "description": level.description,
        }
        for level in SERVICE_LEVELS
    ]
    return pl.DataFrame(rows, schema=ServiceLevels.schema())


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _median_of_slowest(looks: pl.DataFrame) -> float | None:
    slowest = looks.group_by("recorded_at").agg(pl.col("age_seconds").max())["age_seconds"].drop_nulls()
    return float(slowest.median()) if len(slowest) else None  # type: ignore[arg-type]


def _growth(recorded: pl.DataFrame, facts: DayFacts) -> float | None:
    """Against the newest recorded size that is a month old; None without one."""
    latest, earliest = facts.day - dt.timedelta(MONTH_DAYS), facts.day - dt.timedelta(LONGEST_MONTH_DAYS)
    sizes = recorded.filter(
        pl.col("name") == STORAGE_BYTES, pl.col("level_date").is_between(earliest, latest), pl.col("value") > 0
    ).sort("level_date")
    if facts.stored_bytes is None or sizes.is_empty():
        return None
    return facts.stored_bytes / float(sizes["value"][-1]) - 1


def _met(level: ServiceLevel, value: float | None) -> bool | None:
    if value is None or level.goal is None:
        return None
    return value >= level.goal if level.at_least else value < level.goal
