"""A file that should never have landed, taken out again: planned durably, carried out exactly once, like a batch.
Belongs here: which rows go, and the commits that remove them. Not here: choosing files (operations), Dagster."""

from __future__ import annotations

import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.lake.commits import Position
from data_platform.sources.batch_plan import Plan
from data_platform.sources.landing import BatchResult, Landing
from data_platform.sources.replay import replace_days

DAYS = "days"
"""What lies beside the plan: the days of the raw table that lose rows, and how many."""


def plan_withdrawal(landing: Landing, entries: pl.DataFrame) -> Plan:
    """Write down that these files (rows of the ledger, of this source) go. From then on it happens: now, or with the
    next ingestion. Hold the landing's lock, with no plan unfinished."""
    source = landing.source
    first, last = entries["first_day"].min(), entries["last_day"].max()
    raw = landing.lake.scan(source.table, first, last).filter(_rows_of(entries))  # type: ignore[arg-type]
    days = raw.group_by(day=str(source.table.partition)).agg(rows=pl.len().cast(pl.Int64)).sort("day").collect()
    withdraws = tuple(entries.select("file_digest", "batch").iter_rows())
    return landing.write_plan_beside({DAYS: days}, withdraws)


def commit_withdrawal(landing: Landing, plan: Plan) -> BatchResult:
    """Remove the rows, the rejected lines and say so in the ledger. Safe to repeat. Hold the lock."""
    source, lake = landing.source, landing.lake
    result = BatchResult(source, plan, IngestionLedger.empty())
    beside = landing.beside(plan, DAYS)
    if not beside.exists():  # the process died while it put the plan away: everyone knows of it
        return result
    days = pl.read_parquet(beside)
    chosen = pl.DataFrame(plan.withdraws, schema={"file_digest": pl.String, "batch": pl.Int64}, orient="row")
    ledger = lake.scan(IngestionLedger).filter(pl.col("source") == source.name)
    entries = ledger.join(chosen.lazy(), on=["file_digest", "batch"], how="semi").collect()
    received = entries["received_date"]
    if days.is_empty():
        old = lake.position(source.table, source.name)
        if (old or 0) < plan.batch:
            lake.commit(source.table, [], position=Position(source.name, old, plan.batch))
    else:
        replace_days(landing, plan, source.table, days["day"], lambda rows: rows.filter(~_rows_of(entries)))
    replace_days(landing, plan, source.rejected, received, lambda lines: lines.filter(~_lines_of(entries)))
    replace_days(landing, plan, IngestionLedger, received, lambda files: _withdrawn(files, chosen, source.name, plan))
    result.days = {str(day): rows for day, rows in days.iter_rows()}
    result.rejected_days = {str(day): 0 for day in received.unique()}
    result.ledger = entries.clear() if entries.is_empty() else entries
    return result


def _rows_of(entries: pl.DataFrame) -> pl.Expr:
    """Rows of a raw table that came from these files: a name is a file's own among those received with it."""
    whose = entries.select("source_file", "received_at").rows()
    return pl.any_horizontal(
        pl.lit(False), *((pl.col("source_file") == name) & (pl.col("received_at") == at) for name, at in whose)
    )


def _lines_of(entries: pl.DataFrame) -> pl.Expr:
    whose = entries.select("file_digest", "received_at").rows()
    return pl.any_horizontal(
        pl.lit(False), *((pl.col("file_digest") == digest) & (pl.col("received_at") == at) for digest, at in whose)
    )


def _withdrawn(files: pl.LazyFrame, chosen: pl.DataFrame, source: str, plan: Plan) -> pl.LazyFrame:
    """The ledger with these files' lines counted as withdrawn, and no longer as stored or rejected."""
    marked = files.join(
        chosen.lazy().with_columns(source=pl.lit(source), _gone=True), on=["source", "file_digest", "batch"], how="left"
    )
    gone = pl.col("_gone").fill_null(False)
    return marked.with_columns(
        withdrawn_lines=pl.when(gone).then("received_lines").otherwise("withdrawn_lines"),
        withdrawn_at=pl.when(gone).then(pl.lit(plan.received_at)).otherwise("withdrawn_at"),
        stored_lines=pl.when(gone).then(0).otherwise("stored_lines"),
        rejected_lines=pl.when(gone).then(0).otherwise("rejected_lines"),
    ).select(files.collect_schema().names())
