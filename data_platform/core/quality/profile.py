"""What a day of a table looks like in numbers: volume, nulls, distributions, and what its JSON payloads carry.
Belongs here: measuring frames. Not here: what is unusual (anomalies), where it is kept (profile_store)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.table import Column, Table

ROWS_A_DAY = 20_000
"""Rows of a day that are measured, evenly spaced; volume and nulls are counted on all. A share of 4 % is then known to
0.14 points, far finer than days differ. Measuring all of 500,000 events took as long as cleaning them."""
PAYLOADS_A_DAY = 2_000
"""Of them, how many JSON texts are taken apart: 2 µs each."""
ROWS_OF_A_GLANCE = 1_000
CATEGORIES = 50
"""Text with at most this many values on a day is a category, and each value's share is a measure."""
FEWEST_ROWS = 10
"""A category or a number in a payload is measured on at least so many rows: fewer say little, and could be a person."""

NUMBERS = ("mean", "std", "min", "max", "p50", "p99", "zero_share", "negative_share")
MEASURES = {"day": pl.Date(), "measure": pl.String(), "value": pl.Float64()}

# `"name":scalar` anywhere in minified JSON. Four times faster than decoding, and as good for what is measured.
_MEMBER = r'"[A-Za-z_]\w*":(?:"(?:[^"\\]|\\.){0,40}"|-?[0-9][0-9.eE+-]*|true|false)'


def is_profiled(table: type[Table]) -> bool:
    """Days of a table are measured unless its contract says no; what is recorded about quality is not judged again."""
    return table.profiled and table.partition is not None and table.table_group() != "quality"


@dataclass(frozen=True)
class PartialProfile:
    """What is kept of a frame for its profile: exact counts per day, and some rows."""

    counts: pl.DataFrame
    sample: pl.DataFrame


def look(table: type[Table], frame: pl.DataFrame) -> PartialProfile:
    """Count a frame and keep evenly spaced rows of it. A day may come in several frames of any size."""
    assert table.partition
    day = pl.col(table.partition)
    counted = [pl.len().cast(pl.Int64).alias("rows"), *(_missing(c).alias(name) for name, c in _may_miss(table))]
    one_day = frame[table.partition].min() == frame[table.partition].max()
    counts = (
        frame.select(day.first(), *counted) if one_day and len(frame) else frame.group_by(day).agg(counted)
    ).with_columns(pl.exclude(table.partition).cast(pl.Int64))
    return PartialProfile(counts, frame.gather_every(_stride(len(frame), len(counts), ROWS_A_DAY)))


def profile(table: type[Table], looks: Sequence[PartialProfile], days: Iterable[dt.date]) -> pl.DataFrame:
    """The measures of each of the days: day, measure, value. A day without rows has the one measure `rows`, of 0.

    Measures are named `what:column`, for example `rows`, `null_share:campaign_id`, `mean:score`,
    `share:event_type=logout`, `hour:timestamp=7`, `mean:event_data.spell_cast.damage`.
    """
    assert table.partition
    none = pl.DataFrame({"day": sorted(days)}, schema={"day": pl.Date()}).with_columns(
        measure=pl.lit("rows"), value=0.0
    )
    if not looks:
        return none
    counts = pl.concat([one.counts for one in looks]).group_by(table.partition).sum()
    sample = pl.concat([one.sample for one in looks])
    parts = [_volume(table, counts)]
    if len(sample):
        sample = sample.gather_every(_stride(len(sample), len(counts), ROWS_A_DAY))
        parts += [_numbers_and_lengths(table, sample), *_hours(table, sample), *_categories(table, sample)]
        payloads = sample.gather_every(_stride(len(sample), len(counts), PAYLOADS_A_DAY))
        for name, declared in table.columns.items():
            if declared.is_json:
                parts += _members(table, payloads, name)
            elif declared.dtype == pl.String() and not _is_unique(table, name):
                parts.append(_most_frequent(table, payloads, name))
    found = pl.concat([part.select(pl.col(table.partition).alias("day"), "measure", "value") for part in parts])
    found = found.filter(pl.col("value").is_finite())
    return pl.concat([found, none.join(found, on="day", how="anti")]).sort("day", "measure")


def _stride(rows: int, days: int, most: int) -> int:
    return max(1, -(-rows // (max(1, days) * most)))


def _is_unique(table: type[Table], name: str) -> bool:
    """Whether no day can have a value twice: how many values there are is then the number of rows."""
    return set(table.primary_key) <= {table.partition, name}


def _may_miss(table: type[Table]) -> Iterator[tuple[str, Column]]:
    for name, declared in table.columns.items():
        if declared.nullable or declared.dtype == pl.Float64():
            yield name, declared


def _missing(declared: Column) -> pl.Expr:
    value = pl.col(declared.name)
    return value.fill_nan(None).null_count() if declared.dtype == pl.Float64() else value.null_count()


def _long(frame: pl.DataFrame, day: str) -> pl.DataFrame:
    wide = frame.with_columns(pl.exclude(day).cast(pl.Float64))
    return wide.unpivot(index=day, variable_name="measure", value_name="value").drop_nulls("value")


def _volume(table: type[Table], counts: pl.DataFrame) -> pl.DataFrame:
    assert table.partition
    shares = [(pl.col(name) / pl.col("rows")).alias(f"null_share:{name}") for name, _ in _may_miss(table)]
    return _long(counts.select(table.partition, "rows", *shares), table.partition)


def _numbers_and_lengths(table: type[Table], sample: pl.DataFrame) -> pl.DataFrame:
    assert table.partition
    measured: list[pl.Expr] = []
    start = pl.col(table.partition).cast(pl.Datetime("us", "UTC"))
    moments: list[str] = []
    for name, declared in table.columns.items():
        value = pl.col(name)
        if name == table.partition:
            continue
        if declared.dtype.is_numeric():
            number = value.cast(pl.Float64).fill_nan(None)
            found = (
                *(number.mean(), number.std(), number.min(), number.max()),
                *(number.quantile(0.5), number.quantile(0.99), (number == 0).mean(), (number < 0).mean()),
            )
            measured += [measure.alias(f"{kind}:{name}") for kind, measure in zip(NUMBERS, found, strict=True)]
        elif declared.dtype == pl.Boolean():
            measured.append(value.mean().alias(f"share:{name}=true"))
        elif declared.dtype == pl.String():
            measured.append(value.str.len_bytes().mean().alias(f"mean_length:{name}"))
            if not declared.is_json and not _is_unique(table, name):
                measured.append((value.drop_nulls().n_unique() / value.count()).alias(f"distinct_share:{name}"))
        elif declared.dtype.is_temporal():
            hours = (value.cast(pl.Datetime("us", "UTC")) - start).dt.total_seconds() / 3600
            measured += [
                measure.alias(f"offset_{kind}:{name}")
                for kind, measure in (("mean", hours.mean()), ("min", hours.min()), ("max", hours.max()))
            ]
            if moments and declared.dtype != pl.Date():
                apart = (value - pl.col(moments[0])).dt.total_microseconds() / 6e7
                # The mean of the middle: the median jumps where many are equal, the mean follows a few wrong clocks.
                middle = apart.is_between(apart.quantile(0.1), apart.quantile(0.9))
                measured.append(apart.filter(middle).mean().alias(f"lag:{name}"))
            if declared.dtype != pl.Date():
                moments.append(name)
    return _long(sample.group_by(table.partition).agg(measured), table.partition)


def _hours(table: type[Table], sample: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for name, declared in table.columns.items():
        if declared.dtype == pl.Datetime("us", "UTC"):
            hour = pl.col(name).dt.hour()
            yield _shares(table, sample.select(table.partition, value=hour), sample, f"hour:{name}")


def _categories(table: type[Table], sample: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for name, declared in table.columns.items():
        # Never a value that tells of one person: profiles outlive the person's erasure.
        if declared.dtype == pl.String() and not declared.is_json and declared.personal is None:
            yield _shares(table, sample.select(table.partition, value=name), sample, f"share:{name}")


def _shares(table: type[Table], values: pl.DataFrame, rows: pl.DataFrame, named: str) -> pl.DataFrame:
    """The share of each frequent value among a day's rows, for days with at most CATEGORIES of them."""
    assert table.partition
    day = table.partition
    # Counting 20,000 ids to see that they are no category would be a quarter of the profile's time.
    if values["value"].head(ROWS_OF_A_GLANCE).n_unique() > 4 * CATEGORIES:
        values = values.clear()
    counted = values.drop_nulls("value").group_by(day, "value").agg(rows=pl.len())
    category = counted.filter(pl.len().over(day) <= CATEGORIES, pl.col("rows") >= FEWEST_ROWS)
    total = rows.group_by(day).agg(total=pl.len())
    text = pl.col("value").cast(pl.String).str.slice(0, 60)
    return category.join(total, on=day).select(
        day, measure=pl.lit(f"{named}=") + text, value=pl.col("rows") / pl.col("total")
    )


def _most_frequent(table: type[Table], rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The share of the most frequent value, whichever it is: an id that is always the same."""
    assert table.partition
    counted = rows.drop_nulls(name).group_by(table.partition, name).agg(rows=pl.len())
    share = pl.col("rows").max() / pl.col("rows").sum()
    return counted.group_by(table.partition).agg(measure=pl.lit(f"top_share:{name}"), value=share)


def _members(table: type[Table], payloads: pl.DataFrame, column: str) -> Iterator[pl.DataFrame]:
    """How often each member is there, the numbers among them, and the shares of values of categories. The members of
    a column in `profiled_by` are told apart by the value of that other column."""
    assert table.partition
    day, kind = table.partition, table.profiled_by.get(column)
    texts = payloads.drop_nulls(column).select(
        day, pl.col(kind) if kind else pl.lit(None, pl.String).alias("kind"), column
    )
    texts = texts.rename({kind: "kind"}) if kind else texts
    total = texts.group_by(day).agg(total=pl.len())
    found = (
        texts.lazy()
        .select(day, "kind", member=pl.col(column).str.extract_all(_MEMBER))
        .explode("member")
        .drop_nulls("member")
        .with_columns(pl.col("member").str.split_exact('":', 1).struct.rename_fields(["name", "value"]))
        .unnest("member")
        .with_columns(pl.col("name").str.slice(1))
        .with_columns(number=pl.col("value").cast(pl.Float64, strict=False))
        .collect()
    )
    path = pl.concat_str([pl.lit(f"{column}"), "kind", "name"], separator=".", ignore_nulls=True)
    by_member = (
        found.group_by(day, "kind", "name")
        .agg(
            rows=pl.len(),
            numbers=pl.col("number").count(),
            mean=pl.col("number").mean(),
        )
        .filter(pl.col("rows") >= FEWEST_ROWS)
        .with_columns(path=path)
        .join(total, on=day)
    )
    numeric = by_member.filter(pl.col("numbers") >= FEWEST_ROWS)
    members = total.join(found.group_by(day).agg(rows=pl.len()), on=day, how="left")
    yield members.select(day, measure=pl.lit(f"members:{column}"), value=pl.col("rows").fill_null(0) / pl.col("total"))
    yield by_member.select(day, measure=pl.lit("present:") + pl.col("path"), value=pl.col("rows") / pl.col("total"))
    yield numeric.select(day, measure=pl.lit("mean:") + pl.col("path"), value="mean")
    text = found.filter(pl.col("number").is_null())
    for (name,), values in text.group_by("name"):
        plain = pl.col("value").str.strip_chars('"')
        yield _shares(table, values.select(day, value=plain), texts, f"share:{column}.{name}")
