"""What was rejected, counted and shown, and judged again after a fix, as Dagster runs in this process.
Belongs here: choosing and counting rejected rows, running a replay. Not here: how lines move (sources/replay)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dagster as dg
import polars as pl

from data_platform.core.contract.lineage import computed_with
from data_platform.core.contract.received import RejectedLines, RejectedRows
from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.lake.store import Lake
from data_platform.operations.build import carry_out
from data_platform.operations.runs import Built, Runs
from data_platform.operations.staleness import build_step
from data_platform.sources.ingestion import INGEST_LANDING, tables_of
from data_platform.sources.landing import Landing
from data_platform.sources.line_queries import IN_FUTURE
from data_platform.sources.replay import Key, plan_replay

STARTED_BY = "data-platform rejected replay"
CARRY_OUT_PLANS = {"ops": {INGEST_LANDING: {"config": {"most_files": 0}}}}
"""Ingestion that completes what is planned and takes in no file."""
ATTEMPTS = 3


@dataclass
class Replayed:
    """What a replay did: of `judged` lines or rows, `accepted` are no longer rejected; `still` counts the others."""

    judged: int = 0
    accepted: int = 0
    still: Counter[str] = field(default_factory=Counter)
    built: Built = field(default_factory=Built)


def rejected_tables() -> list[type[Table]]:
    """Every table that keeps what was rejected, in key order."""
    return [table for table in contracts().values() if issubclass(table, RejectedLines | RejectedRows)]


def rejected_table(name: str) -> type[Table]:
    """By its key or name, or by those of the table that its rows should have been in. Raises PlatformError."""
    tables = rejected_tables()
    names = {table: (table.key, table.table_name()) for table in tables}
    found = [table for table, known in names.items() if name in known or f"{name}_rejected" in known]
    if len(found) == 1:
        return found[0]
    names_text = ", ".join(table.key for table in found or tables)
    raise PlatformError(
        f"{name!r} names {len(found)} rejected tables." if found else f"There is no rejected table {name!r}.",
        f"{did_you_mean(name, [word for known in names.values() for word in known])}Use one of {names_text}.",
    )


def chosen_rows(
    table: type[Table], reason: str | None = None, first: dt.date | None = None, last: dt.date | None = None
) -> pl.Expr:
    """The rows rejected for a reason on the days `first`..`last`: of receipt for lines, of the event for rows."""
    day = pl.col(str(table.partition))
    conditions = [
        pl.col("reason") == reason if reason else None,
        day >= first if first else None,
        day <= last if last else None,
    ]
    return pl.all_horizontal(pl.lit(True), *(c for c in conditions if c is not None))


def to_judge_again(
    table: type[Table], reason: str | None = None, first: dt.date | None = None, last: dt.date | None = None
) -> pl.Expr:
    """The chosen rows without those that were rejected as lying in the future, unless their reason is the one that is
    named: once their moment has passed they would be accepted, also where it was the sender's clock that was wrong."""
    chosen = chosen_rows(table, reason, first, last)
    return chosen if reason else chosen & ~pl.col("reason").str.ends_with(IN_FUTURE)


def counts(lake: Lake, table: type[Table], chosen: pl.Expr) -> pl.DataFrame:
    """Chosen rows per day and reason: day, reason, rows; in this order."""
    return (
        lake.scan(table)
        .filter(chosen)
        .group_by(day=str(table.partition), reason="reason")
        .agg(rows=pl.len())
        .sort("day", "reason")
        .collect()
    )


def newest_rows(lake: Lake, table: type[Table], chosen: pl.Expr, limit: int) -> pl.DataFrame:
    """Some chosen rows: those of the newest day first, as they are stored. Of a day no more is read than needed."""
    found = table.empty()
    days = lake.scan(table).filter(chosen).select(pl.col(str(table.partition)).unique()).collect().to_series()
    for day in days.sort(descending=True).head(limit):
        found.extend(lake.scan(table, day, day).filter(chosen).head(limit - len(found)).collect())
    return found


def replay_lines(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    landing: Landing,
    chosen: pl.Expr,
    follow: Callable[[int], object] = lambda _judged: None,
) -> Replayed:
    """Judge rejected lines again by today's settings and contract; accepted ones move to the raw table, exactly once.

    Each batch of lines is planned durably under the folder's lock and carried out by a run of the ingestion job, which
    records the touched days, so that exactly the days that depend on them become out of date. Goes on beside a run that
    fails, unless that leaves its plan behind: the folder has one at a time, and the next ingestion carries it out.
    `follow` is told how many lines are judged.
    """
    runs = Runs(defs, instance, STARTED_BY)
    replayed = Replayed(built=runs.built)
    after: Key | None = None
    attempts = 0
    while True:
        with landing.locked():
            planned = None if landing.unfinished() else plan_replay(landing, chosen, after)
        if planned is not None:
            attempts = 0
            outcome = planned.judged.lines["reason"]
            replayed.judged += len(outcome)
            replayed.accepted += outcome.null_count()
            replayed.still.update(outcome.drop_nulls())
            after = planned.last
            follow(replayed.judged)
        if planned is None or planned.plan is not None:
            attempts += 1
            runs.ingest(tables_of([landing.source]), CARRY_OUT_PLANS)
            if replayed.built.failures and landing.unfinished():
                break
        if planned is not None and after is None:
            break
        if attempts > ATTEMPTS:
            raise PlatformError(
                f"Another process keeps ingesting {landing.source.name}.", "Wait until it is done, then run again."
            )
    replayed.built.failures = tuple(dict.fromkeys(replayed.built.failures))
    return replayed


def replay_rows(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    table: type[Table],
    chosen: pl.Expr,
    follow: Callable[[int], object] = lambda _judged: None,
) -> Replayed:
    """Rows that were rejected while a table was computed: compute the days of that table again.

    `table` is the rejected one. A row counts as accepted when it is no longer rejected on its day.
    """
    key = ["event_date", "row_digest"]
    before = lake.scan(table).filter(chosen).select(key).unique().collect()
    days = sorted(str(day) for day in before["event_date"].unique())
    step = build_step({computed_with(table): days})
    built = carry_out(Runs(defs, instance, STARTED_BY), [step] if step else [])
    replayed = Replayed(judged=len(before), built=built)
    follow(len(before))
    still = lake.scan(table).join(before.lazy(), on=key, how="semi").unique(key, keep="any").select("reason").collect()
    replayed.still = Counter(still["reason"])
    replayed.accepted = replayed.judged - len(still)
    return replayed


def summary_of(replayed: Replayed, unit: str, accepted: str) -> str:
    """One sentence: "123 lines replayed: 120 stored, 3 still rejected (missing_player_id 3)"."""
    if not replayed.judged:
        return f"0 {unit} replayed: none like this are rejected"
    text = f"{replayed.judged:,} {unit} replayed: {replayed.accepted:,} {accepted}"
    if not replayed.still:
        return f"{text}, none still rejected"
    return f"{text}, {replayed.still.total():,} still rejected ({_by_count(replayed.still)})"


def _by_count(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda found: (-found[1], found[0]))
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered)
