"""From rows as received to each once: what is wrong is rejected with a reason, copies are counted, of several rows told
for one thing the earliest counts. Not here: what is wrong with a row of any one table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.canonical import as_text, canonical_row, row_digest
from data_platform.core.contract.received import ReceivedLines, RejectedRows
from data_platform.core.contract.table import Column

CONFLICTING_DUPLICATE = "conflicting_duplicate"


@dataclass(frozen=True)
class EachOnce:
    """Where every raw row went: raw rows = clean + duplicates + rejected, on each day."""

    clean: pl.DataFrame
    """One row per thing: the raw content, or rows of the clean table that were made of it."""
    rejected: pl.DataFrame
    """The columns of RejectedRows."""
    duplicates: pl.DataFrame
    """One row per day of the input: the partition, `duplicates` (extra copies that were dropped)."""


def content_of(raw: type[ReceivedLines]) -> dict[str, Column]:
    """What a row says. File, line and time of receipt are not content: a retry differs in them."""
    bookkeeping = {*ReceivedLines.columns} - {"extra_fields"}
    return {name: declared for name, declared in raw.columns.items() if name not in bookkeeping}


def each_once(
    rows: pl.DataFrame, raw: type[ReceivedLines], thing: Sequence[str], earliest: str, faults: Mapping[str, pl.Expr]
) -> EachOnce:
    """Sort rows of `raw` into those that count, rejected ones, and a count of copies.

    `thing` are the columns that name what a row tells of, `earliest` the time that decides between rows of different
    content, then the smallest digest does: what counts does not depend on the order of arrival. `faults` is reason →
    what is true of a bad row; bad rows compete with nothing.
    """
    columns = content_of(raw)
    day = str(raw.partition)
    found = [pl.when(is_so).then(pl.lit(name)) for name, is_so in faults.items()]
    content = rows.with_columns(_reason=pl.coalesce(*found, pl.lit(None, pl.String))).select(*columns, "_reason")
    alone = pl.struct(thing).is_unique() & pl.col("_reason").is_null()
    settled, contested = content.filter(alone), content.filter(~alone)
    values = _by_value(contested, columns)
    good = values.filter(pl.col("_reason").is_null()).sort(earliest, "row_digest")
    first = pl.struct(thing).is_first_distinct()
    rejected = [
        values.filter(pl.col("_reason").is_not_null()),
        good.filter(~first).with_columns(_reason=pl.lit(CONFLICTING_DUPLICATE)),
    ]
    copies = values.group_by(day).agg(duplicates=pl.col("copies").sum() - pl.len())
    duplicates = (
        rows.select(pl.col(day).unique())
        .join(copies, on=day, how="left")
        .with_columns(pl.col("duplicates").cast(pl.Int64).fill_null(0))
    )
    return EachOnce(
        pl.concat([settled.select(*columns), good.filter(first).select(*columns)]),
        pl.concat([_as_rejected(part, day) for part in rejected]),
        duplicates,
    )


def _as_rejected(values: pl.DataFrame, day: str) -> pl.DataFrame:
    return values.select(event_date=day, reason="_reason", row_digest="row_digest", row="row").select(
        pl.col(name).cast(dtype) for name, dtype in _REJECTED.items()
    )


def of_days(rows: pl.DataFrame, days: Collection[dt.date], day: str) -> pl.DataFrame:
    return rows.filter(pl.col(day).is_in(list(days)))


_REJECTED = {name: RejectedRows.columns[name].dtype for name in ("event_date", "reason", "row_digest", "row")}


def _by_value(rows: pl.DataFrame, columns: Mapping[str, Column]) -> pl.DataFrame:
    """One row per distinct value of the content (of several spellings the smallest), with `row`, `row_digest` and how
    many `copies` there were."""
    # Copies are mostly copies to the letter: counting them first leaves little for the parser below.
    texts = rows.group_by(*columns, "_reason").agg(copies=pl.len())
    spelt = [canonical_row(columns, row) for row in texts.select(as_text(columns)).iter_rows(named=True)]
    json_columns = [name for name, declared in columns.items() if declared.is_json]
    return (
        texts.with_columns(pl.Series("row", spelt, dtype=pl.String))
        .sort(json_columns)
        .group_by("row", maintain_order=True)
        .agg(pl.col(*columns, "_reason").first(), pl.col("copies").sum())
        .with_columns(pl.col("row").map_elements(row_digest, return_dtype=pl.String).alias("row_digest"))
    )
