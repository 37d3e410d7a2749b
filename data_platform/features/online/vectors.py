"""A feature table's rows as JSON vectors, and the newest day of one put into the online store.
Belongs here: what is served of a contract and how values are written. Not here: stores, Dagster."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.features.catalogue import FeatureSet
from data_platform.features.online.store import OnlineSnapshot, OnlineStore

ROWS_AT_A_TIME = 5_000
"""2 MB of vectors of 40 features: Polars takes every core for milliseconds, and not again until they are written."""


def feature_names(table: type[Table]) -> tuple[str, ...]:
    """Every feature of the set, in declared order: that of the values of a vector."""
    return tuple(FeatureSet(table).features)


def vectors(table: type[Table], rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a feature table → entity_id, vector (Binary: a JSON array of the features in declared order).

    Numbers are written so that they read back as the same bits; JSON has no NaN and no infinity: these become null.
    """
    values = [_as_json(name, table.columns[name].dtype) for name in feature_names(table)]
    array = pl.concat_str(pl.lit("["), pl.concat_str(values, separator=","), pl.lit("]"))
    return rows.select(entity_id=FeatureSet(table).entity, vector=array.cast(pl.Binary))


def wire_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as a reader of the JSON gets it: dates, times and decimals are text, what is not finite is null."""
    value = pl.col(name)
    if dtype.is_float():
        return pl.when(value.is_finite()).then(value).alias(name)
    if isinstance(dtype, pl.Datetime):
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if isinstance(dtype, pl.Date):
        return value.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, pl.Decimal):
        return value.cast(pl.String)
    if isinstance(dtype, pl.Binary):
        raise PlatformError(f"The feature {name} holds bytes, which JSON cannot carry.", "Declare it as text.")
    return value


def wire_type(dtype: pl.DataType) -> pl.DataType:
    """The Polars type of `wire_value`."""
    kept = dtype.is_float() or dtype.is_integer() or isinstance(dtype, pl.Boolean | pl.List)
    return dtype if kept else pl.String()


def _as_json(name: str, dtype: pl.DataType) -> pl.Expr:
    value, wire = wire_value(name, dtype), wire_type(dtype)
    if isinstance(wire, pl.String | pl.List):  # quoted and escaped as the only field of an object: {"v":...}
        return pl.struct(v=value).struct.json_encode().str.slice(5).str.head(-1)
    return value.cast(pl.String).fill_null("null")


def newest_day(lake: Lake, table: type[Table], version: int | None = None) -> dt.date | None:
    """The newest partition that has rows."""
    days = lake.partitions(table, version).filter(pl.col("rows") > 0)["partition"]
    return dt.date.fromisoformat(str(days.max())) if len(days) else None


def snapshot_of(lake: Lake, table: type[Table], day: dt.date, version: int) -> OnlineSnapshot:
    """What the vectors of a day at a table version would be served as."""
    folder = f"/{table.partition}={day}/"
    files = sorted(path for path in lake.open(table, version).file_uris() if folder in path)
    digest = hashlib.blake2b("\n".join(files).encode(), digest_size=8).hexdigest()
    return OnlineSnapshot(table.table_name(), feature_names(table), day, version, table.version(), digest)


def serve_day(lake: Lake, store: OnlineStore, table: type[Table], day: dt.date, version: int) -> OnlineSnapshot:
    """Put the vectors of a day, read at a table version, into the store; what is served now.

    A thread that gives way does it: whoever answers requests, on the same two cores perhaps, comes first. Raises
    OlderThanServed when something newer is being served, PlatformError for values JSON cannot carry.
    """
    snapshot = snapshot_of(lake, table, day, version)
    with ThreadPoolExecutor(max_workers=1, initializer=_give_way) as builder:
        return builder.submit(store.swap, snapshot, _day_in_parts(lake, table, day, version)).result()


def _give_way() -> None:
    """The lowest priority for this thread, which ends with its work. Only on Linux do threads have one of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _day_in_parts(lake: Lake, table: type[Table], day: dt.date, version: int) -> Iterator[pl.DataFrame]:
    rows = lake.scan(table, day, day, version).collect()
    for part in rows.iter_slices(ROWS_AT_A_TIME):
        yield vectors(table, part)
