"""Rejected lines of a landing source, judged again after a fix: what is accepted now moves to the raw table, once.
Belongs here: judging again, the durable plan of a move, and its commits. Not here: new files (landing), Dagster.

A replay is a batch like any other: planned durably, then committed to the raw, rejected and ledger tables in this
order, each commit carrying the batch number. The plan holds the outcome itself and not the question, so that a batch
which was cut short is completed to the same end by other settings or another version of the parser."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.received import IngestionLedger, RejectedLines
from data_platform.core.contract.table import Table
from data_platform.core.lake.commits import Position
from data_platform.core.lake.store import Lake, StaleWriter
from data_platform.sources.batch_plan import Plan
from data_platform.sources.compressed_lines import CHUNK_BYTES, LineChunk
from data_platform.sources.landing import STAGE_ROWS, BatchResult, Landing
from data_platform.sources.line_parser import LineParser, Received
from data_platform.sources.reading import LINE_TOO_LONG
from data_platform.sources.segments import REFUSED

LINES_AT_A_TIME = 500_000
"""Lines of one batch: bounds memory at about a gigabyte, for lines of 1 KB."""
LINES, ROWS = "lines", "rows"
"""What lies beside the plan: the changed lines' keys with their new reason, and the rows they became."""
COMMIT_ATTEMPTS = 50
"""The ledger is shared by all sources: another one's ingestion may commit to it between reading and replacing a day."""

Key = tuple[dt.date, str, int]
"""Primary key of a rejected line."""


@dataclass(frozen=True)
class Judged:
    """Rejected lines after another judgement."""

    lines: pl.DataFrame
    """Per line: the key of RejectedLines, reason_before, reason (null: accepted), day (of the raw table, or null)."""
    rows: pl.DataFrame
    """Rows of the raw table, with the file, line and time of receipt of the line they were made from."""

    @property
    def changed(self) -> pl.DataFrame:
        """The lines that are accepted now, or rejected for another reason."""
        return self.lines.filter(~pl.col("reason").eq_missing(pl.col("reason_before")))


@dataclass(frozen=True)
class PlannedReplay:
    """What was decided about some lines. `plan` is None when nothing changes, `last` when no line is left to judge."""

    judged: Judged
    plan: Plan | None
    last: Key | None


def plan_replay(
    landing: Landing, chosen: pl.Expr, after: Key | None = None, limit: int = LINES_AT_A_TIME
) -> PlannedReplay:
    """Judge the chosen rejected lines that come after a key (at most `limit`), and write down durably what changes.

    Once this returns with a plan, the replay happens: now, or with the next ingestion. Hold the landing's lock, with no
    plan unfinished.
    """
    lines = _some_lines(landing.lake, landing.source.rejected, chosen, after, limit)
    judged = judge_again(lines, landing.parser, dt.datetime.now(dt.UTC))
    plan = landing.write_plan_beside({LINES: judged.changed, ROWS: judged.rows}) if len(judged.changed) else None
    last = judged.lines.select(RejectedLines.primary_key).row(-1) if len(lines) == limit else None
    return PlannedReplay(judged, plan, last)


def judge_again(rejected: pl.DataFrame, parser: LineParser, now: dt.datetime) -> Judged:
    """Put rejected lines (RejectedLines) through the parser. "In the future" means after `now`: the clock by which they
    were received may have been the fault, slow or fast. Of lines that were too long only the beginning is known, and
    what a reader refused is no line of the source: they stay as they are. In the result lines are in the order of their
    key."""
    table = parser.source.table
    lines: list[pl.DataFrame] = []
    rows: list[pl.DataFrame] = []
    cut = (pl.col("reason") == LINE_TOO_LONG) | pl.col("reason").str.starts_with(REFUSED)
    for some in _chunks(rejected.filter(~cut)):
        text = b"\n".join(some["exact"].to_list()) + b"\n"
        parsed = parser.parse(LineChunk(1, text), Received("", "", now))
        received = some.select("source_file", "source_line", "received_at")[parsed.rows["source_line"] - 1]
        rows.append(parsed.rows.with_columns(received.get_columns()))
        day = pl.col(table.partition) if table.partition else pl.lit(None, dtype=pl.Date)
        accepted = parsed.rows.select(number="source_line", reason=pl.lit(None, dtype=pl.String), day=day)
        refused = parsed.rejected.select(number="source_line", reason="reason", day=pl.lit(None, dtype=pl.Date))
        outcome = pl.concat([accepted, refused]).sort("number")
        if outcome["number"].to_list() != list(range(1, len(some) + 1)):
            raise RuntimeError(f"{len(some)} rejected lines of {table.key} became {len(outcome)}")
        known = some.select(*RejectedLines.primary_key, reason_before="reason")
        lines.append(known.hstack(outcome.select("reason", "day")))
    if (stays := rejected.filter(cut)).height:
        kept = stays.select(
            *RejectedLines.primary_key, "reason", reason_before="reason", day=pl.lit(None, dtype=pl.Date)
        )
        lines.append(kept.select(*RejectedLines.primary_key, "reason_before", "reason", "day"))
        rows.append(table.empty())
    if not lines:
        nothing = RejectedLines.schema()
        key = {name: nothing[name] for name in RejectedLines.primary_key}
        lines = [pl.DataFrame(schema=key | {"reason_before": pl.String, "reason": pl.String, "day": pl.Date})]
        rows = [table.empty()]
    return Judged(pl.concat(lines).sort(RejectedLines.primary_key), pl.concat(rows))


def commit_replay(landing: Landing, plan: Plan) -> BatchResult:
    """Move the lines as planned. Safe to repeat: what is committed stays, what is not is done again. Hold the lock."""
    source, lake = landing.source, landing.lake
    result = BatchResult(source, plan, IngestionLedger.empty())
    beside = landing.beside(plan, LINES)
    if not beside.exists():  # the process died while it put the plan away: everyone knows of the batch
        return result
    lines = pl.read_parquet(beside)
    moved = lines.filter(pl.col("reason").is_null())
    old = lake.position(source.table, source.name)
    if (old or 0) < plan.batch:
        staged = lake.stage(source.table, pl.read_parquet(landing.beside(plan, ROWS)))
        lake.commit(source.table, staged, position=Position(source.name, old, plan.batch), metadata=_metadata(plan))
    replace_days(landing, plan, source.rejected, lines["received_date"], lambda rejected: _without(rejected, lines))
    replace_days(
        landing, plan, IngestionLedger, moved["received_date"], lambda ledger: _corrected(ledger, source.name, moved)
    )
    files = moved["file_digest"].unique()
    of_files = pl.col("file_digest").is_in(files.implode()) & (pl.col("source") == source.name)
    counts = lines.group_by("file_digest").agg(received=pl.len(), stored=pl.col("reason").null_count())
    result.ledger = (
        lake.scan(IngestionLedger)
        .filter(of_files)
        .collect()
        .join(counts, on="file_digest")
        .with_columns(
            received_lines=pl.col("received").cast(pl.Int64),
            stored_lines=pl.col("stored").cast(pl.Int64),
            rejected_lines=(pl.col("received") - pl.col("stored")).cast(pl.Int64),
        )
        .select(list(IngestionLedger.columns))
    )
    result.days = {str(day): count for day, count in moved["day"].value_counts().iter_rows() if day is not None}
    result.rejected_days = {str(day): count for day, count in lines["received_date"].value_counts().iter_rows()}
    return result


def _some_lines(lake: Lake, table: type[RejectedLines], chosen: pl.Expr, after: Key | None, limit: int) -> pl.DataFrame:
    key = list(RejectedLines.primary_key)
    keys = lake.scan(table).filter(chosen).select(key)
    if after is not None:
        day, digest, line = (pl.col(name) for name in key)
        later_in_file = (digest > after[1]) | ((digest == after[1]) & (line > after[2]))
        keys = keys.filter((day > after[0]) | ((day == after[0]) & later_in_file))
    some = keys.sort(key).head(limit).collect()
    days = some["received_date"]
    first, last = (days[0], days[-1]) if len(days) else (None, None)
    return lake.scan(table, first, last).join(some.lazy(), on=key, how="semi").collect()


def _chunks(rejected: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Lines with their `exact` bytes, so many at a time as a parser's chunk holds."""
    exact = pl.coalesce("line_bytes", pl.col("line").cast(pl.Binary))
    lines = rejected.with_columns(exact=exact).sort(RejectedLines.primary_key)
    size = pl.col("exact").bin.size().cast(pl.Int64).cum_sum()
    for _, some in lines.with_columns(_chunk=size // CHUNK_BYTES).group_by("_chunk", maintain_order=True):
        yield some


def _without(rejected: pl.LazyFrame, lines: pl.DataFrame) -> pl.LazyFrame:
    """Rejected lines less the accepted ones, the others with their new reason."""
    key = list(RejectedLines.primary_key)
    reasons = lines.lazy().select(*key, _reason="reason", _judged=True)
    stays = pl.col("_judged").is_null() | pl.col("_reason").is_not_null()
    return (
        rejected.join(reasons, on=key, how="left")
        .filter(stays)
        .with_columns(reason=pl.coalesce("_reason", "reason"))
        .select(rejected.collect_schema().names())
    )


def _corrected(ledger: pl.LazyFrame, source: str, moved: pl.DataFrame) -> pl.LazyFrame:
    """The ledger with the moved lines counted as stored: per file received = stored + rejected, as before."""
    files = (
        moved.lazy()
        .group_by("file_digest")
        .agg(_moved=pl.len().cast(pl.Int64), _first=pl.col("day").min(), _last=pl.col("day").max())
        .with_columns(source=pl.lit(source))
    )
    more = pl.col("_moved").fill_null(0)
    return (
        ledger.join(files, on=["source", "file_digest"], how="left")
        .with_columns(
            stored_lines=pl.col("stored_lines") + more,
            rejected_lines=pl.col("rejected_lines") - more,
            first_day=pl.min_horizontal("first_day", "_first"),
            last_day=pl.max_horizontal("last_day", "_last"),
        )
        .select(ledger.collect_schema().names())
    )


def replace_days(
    landing: Landing, plan: Plan, table: type[Table], days: pl.Series, change: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> None:
    """Replace the days by what `change` makes of them and move the position, in one commit, whoever else writes."""
    lake, source = landing.lake, landing.source.name
    touched = sorted(days.unique().to_list())
    for _ in range(COMMIT_ATTEMPTS):
        old, version = lake.position(table, source), lake.version(table)
        if (old or 0) >= plan.batch:
            return
        staged = [file for part in _parts(lake, table, touched, version, change) for file in lake.stage(table, part)]
        position = Position(source, old, plan.batch)
        try:
            lake.commit(table, staged, map(str, touched), position, _metadata(plan), as_of=version)
        except StaleWriter:
            continue
        return
    raise RuntimeError(f"{table.key}: {COMMIT_ATTEMPTS} commits lost to other writers")


def _parts(
    lake: Lake,
    table: type[Table],
    days: Sequence[dt.date],
    version: int | None,
    change: Callable[[pl.LazyFrame], pl.LazyFrame],
) -> Iterator[pl.DataFrame]:
    """The changed days in parts that bound memory: a day may hold far more rejected lines than are moved at a time."""
    for day in days:
        yield from change(lake.scan(table, day, day, version)).collect_batches(chunk_size=STAGE_ROWS)


def _metadata(plan: Plan) -> dict[str, str]:
    return {"batch": str(plan.batch), "replay": "true"}
