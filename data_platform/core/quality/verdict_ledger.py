"""Every verdict, for ever: one row per (asset, partition, check, run), passes included.
Belongs here: the ledger's contract and how verdicts enter it. Not here: how a verdict is reached (validation)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

import polars as pl

from data_platform.core.contract.table import Severity, Table, column
from data_platform.core.lake.store import Lake
from data_platform.core.quality.check_groups import check_names
from data_platform.core.quality.validation import Status, Verdict, Verdicts


class CheckResults(Table):
    """What every check found: one row per asset, partition, check and run, whether it passed, failed or crashed."""

    key = "quality/check_results"
    partition = "recorded_date"
    primary_key = ("recorded_date", "asset", "asset_partition", "check_name", "run_id")
    owner = "team:data-platform"
    sorted = False
    journal = True

    recorded_date: dt.date = column("UTC day of the verdict.")
    asset: str = column("Table that was judged, for example `clean/player_events`.", min_length=1)
    asset_partition: str = column("Day that was judged; empty for a table without days.")
    check_name: str = column("Rule that was applied, for example `score_at_most_1000`.", min_length=1)
    reported_as: str = column("Asset check of the Dagster UI that shows the rule.", min_length=1)
    status: str = column(
        "`not_judged`: too little history. `errored`: the check itself crashed, which says nothing of the data.",
        isin=list(Status),
    )
    severity: str = column(
        "`error` blocks what is downstream, `warning` alerts, `info` is recorded.", isin=list(Severity)
    )
    value: float | None = column("What was measured, where the check measures something.")
    threshold: float | None = column("The bound the value was held against.")
    rows: int = column("Rows looked at.", unit="rows", ge=0)
    failed_rows: int = column("Rows that break the rule.", unit="rows", ge=0)
    sample: str | None = column("Keys of some failing rows, as a JSON array.")
    message: str | None = column("What a person should know beyond the numbers.")
    run_id: str = column("Dagster run.", min_length=1)
    contract_version: str = column("Version of the contract that was applied.")
    recorded_at: dt.datetime = column("When the verdict was reached.")


def record(
    lake: Lake, table: type[Table], verdicts: Sequence[tuple[str, Verdict]], run_id: str, *, repeated: bool = False
) -> None:
    """Append verdicts with the name of the Dagster check that shows each; one commit.

    Pass `repeated` when the run may have recorded some of them before (a retried step): those are left out.
    """
    record_tables(lake, [(table, name, verdict) for name, verdict in verdicts], run_id, repeated=repeated)


def record_tables(
    lake: Lake, verdicts: Sequence[tuple[type[Table], str, Verdict]], run_id: str, *, repeated: bool = False
) -> None:
    """The same for verdicts on several tables; still one commit."""
    _append(lake, _rows(verdicts), run_id, repeated)


def record_materialization(
    lake: Lake,
    table: type[Table],
    verdicts: Verdicts,
    run_id: str,
    *,
    repeated: bool = False,
) -> None:
    """The same for all verdicts of one materialisation, passes included."""
    reported_as = check_names(table)
    found = _rows([(table, reported_as[verdict.rule], verdict) for verdict in verdicts.found()])
    passes = verdicts.passes(table).select(
        asset_partition="partition",
        check_name="rule",
        reported_as=pl.col("rule").replace_strict(dict(reported_as), return_dtype=pl.String),
        status=pl.lit(Status.PASSED.value),
        severity="severity",
        rows="rows",
        failed_rows=pl.lit(0, pl.Int64),
        asset=pl.lit(table.key),
        contract_version=pl.lit(table.version()),
    )
    _append(lake, pl.concat([found, passes], how="diagonal"), run_id, repeated)


def _rows(verdicts: Sequence[tuple[type[Table], str, Verdict]]) -> pl.DataFrame:
    """Rows of the ledger without run and moment."""
    found = [verdict for _, _, verdict in verdicts]
    versions = {table: table.version() for table in {table for table, _, _ in verdicts}}
    columns = {
        "asset_partition": [verdict.partition for verdict in found],
        "check_name": [verdict.rule for verdict in found],
        "reported_as": [reported_as for _, reported_as, _ in verdicts],
        "status": [verdict.status.value for verdict in found],
        "severity": [verdict.severity.value for verdict in found],
        "value": [verdict.value for verdict in found],
        "threshold": [verdict.threshold for verdict in found],
        "rows": [verdict.rows for verdict in found],
        "failed_rows": [verdict.failed_rows for verdict in found],
        "sample": [json.dumps(verdict.sample, default=str) if verdict.sample else None for verdict in found],
        "message": [verdict.message for verdict in found],
        "asset": [table.key for table, _, _ in verdicts],
        "contract_version": [versions[table] for table, _, _ in verdicts],
    }
    schema = CheckResults.schema()
    return pl.DataFrame(columns, schema={name: schema[name] for name in columns})


def _append(lake: Lake, rows: pl.DataFrame, run_id: str, repeated: bool) -> None:
    if rows.is_empty():
        return
    now = dt.datetime.now(dt.UTC)
    schema = CheckResults.schema()
    frame = rows.with_columns(
        recorded_date=pl.lit(now.date()),
        run_id=pl.lit(run_id),
        recorded_at=pl.lit(now).cast(schema["recorded_at"]),
    ).select(list(schema))
    if repeated:
        key = [name for name in CheckResults.primary_key if name != CheckResults.partition]
        known = lake.scan(CheckResults, now.date() - dt.timedelta(days=1)).filter(pl.col("run_id") == run_id)
        frame = frame.join(known.select(key).collect(), on=key, how="anti")
    lake.append(CheckResults, frame)


WARNED_DAYS = 2
"""A warning speaks of the newest days a check judged; an older day that warned is history, and would hide a new one."""
BROKEN = pl.col("status").is_in([Status.FAILED.value, Status.ERRORED.value])


def failing(lake: Lake, since: dt.date | None = None) -> pl.LazyFrame:
    """The verdicts that are a problem now, of those recorded since that day: failed or crashed, on any day where the
    rule blocks, else on the newest days it judged. CheckResults."""
    blocks = pl.col("severity") == Severity.ERROR.value
    day_rank = pl.col("asset_partition").rank("dense", descending=True).over("asset", "check_name")
    applied = pl.col("contract_version").sort_by("recorded_at").last().over("asset", "asset_partition")
    return (
        latest(lake, since)
        .with_columns(day_rank=day_rank, applied=applied)
        # A rule that a newer contract dropped is judged no more, and would stay failed for ever.
        .filter(BROKEN & (pl.col("contract_version") == pl.col("applied")))
        .filter((pl.col("severity") != Severity.INFO.value) & (blocks | (pl.col("day_rank") <= WARNED_DAYS)))
        .select(list(CheckResults.schema()))
    )


def broken_since(history: pl.LazyFrame, key: Sequence[str], broken: pl.Expr = BROKEN) -> pl.DataFrame:
    """The key and `since`: the first broken row after the last good one."""
    good = history.filter(~broken).group_by(key).agg(good_at=pl.col("recorded_at").max())
    bad = history.filter(broken).join(good, on=list(key), how="left")
    later = bad.filter(pl.col("good_at").is_null() | (pl.col("recorded_at") > pl.col("good_at")))
    return later.group_by(key).agg(since=pl.col("recorded_at").min()).collect()


def latest(lake: Lake, since: dt.date | None = None) -> pl.LazyFrame:
    """The newest verdict of each asset, partition and check recorded since that day: what holds now. CheckResults."""
    return (
        lake.scan(CheckResults, since)
        .sort("recorded_at")
        .unique(("asset", "asset_partition", "check_name"), keep="last", maintain_order=False)
    )
