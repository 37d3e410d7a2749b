"""Facts about every table for people on call: rows, newest day, freshness, verdicts, what is out of date.
Belongs here: collecting them from the Delta logs, the verdict ledger and Dagster's record. Not here: showing them;
Dagster, whose import alone takes longer than all of this."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.lineage import computed_with
from data_platform.core.contract.received import RejectedLines, RejectedRows
from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.instance.materialisations import Materialisations
from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.connected import connected
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.observability.contracts import FRESH_RULE, FreshnessState
from data_platform.observability.freshness import FreshnessVerdict
from data_platform.observability.observations import look_at_tables
from data_platform.operations.staleness import ever_fed, stale_days
from data_platform.sources.landing_source import LandingSource

HISTORY_ENDED = dt.timedelta(days=30)
"""Nobody waits for a source that said nothing for so long: what is there is history."""


@dataclass(frozen=True)
class TableStatus:
    """One table as of now. `freshness` is judged by event time and the newest expected day, never by when a run wrote;
    it is empty for a table that promises none."""

    key: str
    owner: str
    rows: int
    bytes: int
    partitions: int
    newest: str | None
    freshness: str
    age: dt.timedelta | None
    reason: str
    """Why the freshness is what it is, in one sentence."""
    ended: str | None
    """Last day of a history that nothing is added to, and that is computed to its end."""
    failed_checks: tuple[str, ...]
    """Those that block; the newest verdict on some day is bad."""
    warned_checks: tuple[str, ...]
    checks: int
    stale: tuple[str, ...]
    """Days that are out of date, ascending; one empty text for a table without days."""
    built: bool
    connected: bool
    """Something was ever received by its domain: without a shop there is nothing to say of a shop's tables."""


def all_status(
    lake: Lake, history: Materialisations, sources: Sequence[LandingSource], now: dt.datetime
) -> list[TableStatus]:
    """Every table, in key order. The lineage must be known."""
    tables = contracts()
    looks = look_at_tables(lake, history, sources, now)
    stale = stale_days(history, tables.values())
    fed = ever_fed(lake, tables.values())
    there = connected(lake, tables.values())
    counts, failing = _verdicts(lake)

    def status(table: type[Table]) -> TableStatus:
        partitions = lake.partitions(table)
        days = [day for day in partitions["partition"].to_list() if day]
        rows, exists = int(partitions["rows"].sum()), lake.exists(table)
        look, waiting = looks.get(table.key), tuple(stale.get(computed_with(table), ()))
        return TableStatus(
            key=table.key,
            owner=table.owner,
            rows=rows,
            bytes=int(partitions["bytes"].sum()),
            partitions=len(days),
            newest=max(days, default=None),
            freshness=look.state if look else "" if exists else FreshnessState.NOT_BUILT,
            age=look.age if look else None,
            reason=look.reason if look else "",
            ended=_ended(look, waiting, now),
            failed_checks=tuple(failing.get((table.key, True), ())),
            warned_checks=tuple(failing.get((table.key, False), ())),
            checks=counts.get(table.key, 0),
            stale=waiting,
            built=exists and (rows > 0 or table in fed),
            connected=table in there,
        )

    return [status(table) for table in tables.values()]


def _ended(look: FreshnessVerdict | None, waiting: Sequence[str], now: dt.datetime) -> str | None:
    if look is None or look.watermark is None or waiting or now - look.watermark < HISTORY_ENDED:
        return None
    return (look.newest or look.watermark.date()).isoformat()


def _verdicts(lake: Lake) -> tuple[dict[str, int], dict[tuple[str, bool], list[str]]]:
    """Table → how many checks have a verdict; (table, blocks) → names of the checks that fail now."""
    judged = lake.scan(CheckResults).filter(pl.col("check_name") != FRESH_RULE)
    counts = judged.group_by("asset").agg(pl.col("reported_as").n_unique()).collect()
    bad = verdict_ledger.failing(lake).filter(pl.col("check_name") != FRESH_RULE)
    blocks = pl.col("severity") == Severity.ERROR.value
    failing = bad.group_by("asset", blocks=blocks).agg(pl.col("reported_as").unique().sort()).collect()
    return dict(counts.iter_rows()), {(asset, block): names for asset, block, names in failing.iter_rows()}


def verdicts_of(lake: Lake, table: type[Table]) -> pl.DataFrame:
    """The newest verdict of every rule and day of a table, with `problem` for those that are one now and `since`, the
    first bad verdict after the last good one. CheckResults and these two."""
    key = ("asset", "asset_partition", "check_name")
    history = lake.scan(CheckResults).filter(pl.col("asset") == table.key, pl.col("check_name") != FRESH_RULE)
    problems = verdict_ledger.failing(lake).filter(pl.col("asset") == table.key).select(*key, problem=pl.lit(True))
    newest = verdict_ledger.latest(lake).filter(pl.col("asset") == table.key, pl.col("check_name") != FRESH_RULE)
    return (
        newest.join(problems, on=key, how="left")
        .with_columns(pl.col("problem").fill_null(False))
        .collect()
        .join(verdict_ledger.broken_since(history, key), on=key, how="left")
        .sort("asset_partition", "check_name")
    )


def rejected_of(lake: Lake, table: type[Table]) -> dict[str, int]:
    """Rejected table → its rows, of the tables that keep what a table rejected."""
    kept = (contracts().get(f"{table.key}_rejected"), table)
    found = [one for one in kept if one is not None and issubclass(one, RejectedLines | RejectedRows)]
    return {one.key: int(lake.partitions(one)["rows"].sum()) for one in found}
