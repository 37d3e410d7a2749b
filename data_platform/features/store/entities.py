"""Whom and when features are wanted for: frames of any library, checked and brought into one form.
Not here: any feature."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import UTC_MICROSECONDS
from data_platform.core.errors import PlatformError

BATCH_ROWS = 1_000_000
"""Entity rows joined at a time: with 25 features about 0.5 GB, whatever the number of rows."""
TEXT = (pl.String, pl.Categorical, pl.Enum)

YEARS = (dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC))

ROW, ENTITY, MOMENT, KNOWN_AT = "_row", "_entity", "_moment", "_known_at"


@dataclass(frozen=True)
class Entities:
    """The rows features are wanted for, as given; `wanted` says what of a row is asked for."""

    frame: pl.DataFrame | pl.LazyFrame
    entity: str
    timestamp: str
    known_at: dt.datetime | str | None

    @property
    def columns(self) -> list[str]:
        return self.frame.collect_schema().names()

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in their order, in parts that fit into memory; one empty part when there are none."""
        batches: Iterator[pl.DataFrame]
        if isinstance(self.frame, pl.LazyFrame):
            batches = self.frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
        else:
            batches = self.frame.iter_slices(BATCH_ROWS)
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            yield pl.DataFrame(schema=self.frame.collect_schema())

    def wanted(self, batch: pl.DataFrame) -> pl.DataFrame:
        """_row, _entity, _moment and, when asked as of a moment, _known_at. Raises PlatformError for missing times and
        for those before 1900 or after 9999."""
        for column in (self.timestamp, self.known_at):
            if isinstance(column, str):
                _require_times(column, batch[column])
        columns = {ROW: pl.int_range(pl.len(), dtype=pl.UInt32), ENTITY: pl.col(self.entity).cast(pl.String),
                   MOMENT: _utc(self.timestamp)}  # fmt: skip
        if isinstance(self.known_at, str):
            columns[KNOWN_AT] = _utc(self.known_at)
        elif self.known_at is not None:
            columns[KNOWN_AT] = pl.lit(self.known_at).dt.convert_time_zone("UTC").cast(UTC_MICROSECONDS)
        return batch.select(**columns)


def _require_times(name: str, column: pl.Series) -> None:
    if column.null_count():
        raise PlatformError(f"{column.null_count():,} rows have no {name}.", "Fill it in, or leave these rows out.")
    unit = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[getattr(column.dtype, "time_unit", "us")]
    first, last = (min(int(year.timestamp()) * unit, (1 << 63) - 1) for year in YEARS)
    if not column.to_physical().is_between(first, last).all():
        raise PlatformError(
            f"{name} holds moments before {YEARS[0].year} or after {YEARS[1].year}.",
            "Check the unit they were made from.",
        )


def _utc(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def as_entities(given: Any, entity: str, timestamp: str, known_at: dt.datetime | str | None) -> Entities:
    """Check a frame of Polars (eager or lazy), pandas or Arrow. Raises PlatformError naming what is wrong with it."""
    frame = _as_polars(given)
    schema = frame.collect_schema()
    for column in (entity, timestamp, *([known_at] if isinstance(known_at, str) else [])):
        if column not in schema:
            raise PlatformError(
                f"The entities have no column {column!r}; they have {', '.join(schema) or 'none'}.",
                f"Name the columns {entity!r} and {timestamp!r}, or say which column it is.",
            )
    if schema[entity].base_type() not in TEXT:
        raise PlatformError(
            f"The column {entity!r} is {schema[entity]}, not text.", f"Cast it: pl.col({entity!r}).cast(pl.String)."
        )
    _require_moments(timestamp, schema[timestamp])
    if isinstance(known_at, str):
        _require_moments(known_at, schema[known_at])
    elif known_at is not None and not isinstance(known_at, dt.datetime):
        raise PlatformError(
            f"known_at is {type(known_at).__name__}.",
            "Pass a datetime with a time zone, the name of a column, or None.",
        )
    elif known_at is not None and known_at.tzinfo is None:
        raise PlatformError(
            f"known_at ({known_at}) has no time zone.", "Say which: known_at.replace(tzinfo=datetime.UTC)."
        )
    elif known_at is not None and not YEARS[0] <= known_at <= YEARS[1]:
        raise PlatformError(f"known_at is {known_at}.", f"Pass a moment from {YEARS[0].year} to {YEARS[1].year}.")
    return Entities(frame, entity, timestamp, known_at)


def _as_polars(given: Any) -> pl.DataFrame | pl.LazyFrame:
    if isinstance(given, pl.DataFrame | pl.LazyFrame):
        return given
    try:
        if type(given).__module__.partition(".")[0] == "pandas":
            return pl.from_pandas(given)
        if hasattr(given, "__arrow_c_stream__") or hasattr(given, "__arrow_c_array__"):
            return pl.DataFrame(given)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise PlatformError(
            f"The entities cannot be read ({type(error).__name__}: {str(error)[:200]}).",
            "Give every column one type.",
        ) from None
    raise PlatformError(
        f"Entities are a frame, not {type(given).__name__}.", "Pass a frame of Polars, pandas or Arrow."
    )


def _require_moments(column: str, dtype: pl.DataType) -> None:
    if not isinstance(dtype, pl.Datetime):
        raise PlatformError(
            f"The column {column!r} is {dtype}, not a timestamp.",
            f"Make it one: pl.col({column!r}).cast(pl.Datetime).dt.replace_time_zone('UTC').",
        )
    if dtype.time_zone is None:
        raise PlatformError(
            f"The timestamps of {column!r} have no time zone, so the moment they mean is not clear.",
            f"Say which: pl.col({column!r}).dt.replace_time_zone('UTC'), or in pandas .dt.tz_localize('UTC').",
        )
