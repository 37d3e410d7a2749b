"""Every version that the rows of a bitemporal table ever had, each with the moment from which it was known.
Belongs here: what journal and table say together, as a pure function. Not here: reading or writing files."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.lake.bitemporal import entity_key
from data_platform.features.feast.definitions import KNOWN_FROM, VALID_FROM

UNTIL, EXISTED, ABSENT_UNTIL = "known_until", "existed", "_absent_until"


def row_versions(table: type[Table], rows: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """One row per day, key and version: event_timestamp, created_timestamp, key, features.

    In: rows of some days of a bitemporal table, and all that its journal says of these days (`history_of`). A version
    with nulls alone says that from then on there was no row any more; before its first version there was none either.
    """
    day, key = str(table.partition), [str(table.partition), *entity_key(table)]
    values = [name for name in table.columns if name != day]
    of_days = said.filter(pl.col(key[1]).is_null()).select(day, UNTIL).unique()
    of_rows = said.filter(pl.col(key[1]).is_not_null()).select(*key, UNTIL, EXISTED, *_features(table))
    corrected = of_rows.select(key).unique()

    first = of_days.group_by(day).agg(pl.col(UNTIL).max().alias(ABSENT_UNTIL))
    only = rows.join(corrected, on=key, how="anti").join(first, on=day, how="left")
    only = only.with_columns(_valid_from(day).alias(VALID_FROM))
    only = only.with_columns(pl.max_horizontal(VALID_FROM, ABSENT_UNTIL).alias(KNOWN_FROM))

    last = corrected.join(rows.with_columns(pl.lit(True).alias(EXISTED)), on=key, how="left")
    last = last.with_columns(pl.col(EXISTED).fill_null(False))
    absent = corrected.join(of_days, on=day).with_columns(pl.lit(False).alias(EXISTED))
    versions = pl.concat([of_rows, absent, last], how="diagonal").sort(*key, UNTIL, EXISTED, nulls_last=True)
    versions = versions.with_columns(_valid_from(day).alias(VALID_FROM)).with_columns(
        pl.col(UNTIL).shift(1).over(key).fill_null(pl.col(VALID_FROM)).alias(KNOWN_FROM)
    )
    # What held for no time at all, and what was absent before it was absent.
    versions = versions.filter(pl.col(UNTIL).is_null() | (pl.col(UNTIL) > pl.col(KNOWN_FROM)))
    versions = versions.filter(pl.col(EXISTED) | pl.col(EXISTED).shift(1).over(key).fill_null(False))
    columns = [VALID_FROM, KNOWN_FROM, *values]
    return pl.concat([only.select(columns), versions.select(columns)]).sort(VALID_FROM, *values[:1], KNOWN_FROM)


def _features(table: type[Table]) -> list[str]:
    return [name for name in table.columns if name not in table.primary_key]


def _valid_from(day: str) -> pl.Expr:
    """The end of the day."""
    midnight = pl.col(day).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return midnight + dt.timedelta(days=1)
