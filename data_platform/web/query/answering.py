"""A question answered: rows summed up by what they are told apart by. Exact: integers and decimals, no float for money.
Not here: which rows may be seen (tables), how an answer is written (formats)."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.queries import DAY, MONTH, Distinct, Measure, Quantile, Query, Sum
from data_platform.core.contract.table import Table
from data_platform.core.http.tenants import Reach
from data_platform.web.query.planning import Part, plan
from data_platform.web.query.questions import Question
from data_platform.web.query.tables import TenantTables

ALL = "__all"
"""The one group of a question that tells nothing apart."""
PER_MILLE = 1_000


@dataclass(frozen=True)
class Answered:
    """Rows of an answer; `versions` says of which commit of which table they are."""

    rows: pl.DataFrame
    versions: dict[str, int | None]
    truncated: bool
    """There were more rows than asked for."""


def answer(question: Question, tables: TenantTables, reach: Reach, today: dt.date) -> Answered:
    """Compute the rows: columns are the question's group_by, then its measures. Raises Problem."""
    parts = plan(question, tables, today)
    versions = {part.table.key: tables.version(part.table) for part in parts}
    keys = list(question.group_by) or [ALL]
    frames = [_part(question, part, tables, reach) for part in parts]
    joined = functools.reduce(
        lambda one, other: one.join(other, on=keys, how="full", coalesce=True, nulls_equal=True), frames
    )
    names = [*question.group_by, *(measure.name for measure in question.measures)]
    ordered = _ordered(question, joined.select(names))
    page = ordered.slice(question.offset, question.limit)
    return Answered(page, versions, len(ordered) > question.offset + question.limit)


def _part(question: Question, part: Part, tables: TenantTables, reach: Reach) -> pl.DataFrame:
    """One row per group: its key and the part's measures."""
    rows = tables.scan(part.table, reach, question.filed(part.table), question.filters)
    if (day := question.query.day_of(part.table)) != part.table.partition:
        rows = rows.filter(pl.col(day).is_between(question.period.first, question.period.last))
    keys = [_key(name, day) for name in question.group_by] or [pl.lit(0).alias(ALL)]
    names = list(question.group_by) or [ALL]
    (first, *_) = part.measures
    if isinstance(first, Quantile):
        return _quantile(rows, keys, names, first)
    computed = [_aggregate(measure, question, part.table) for measure in part.measures]
    return rows.group_by(keys).agg(computed).collect()


def _key(name: str, day: str) -> pl.Expr:
    if name == DAY:
        return pl.col(day).alias(DAY)
    if name == MONTH:
        return pl.col(day).dt.truncate("1mo").alias(MONTH)
    return pl.col(name)


def _aggregate(measure: Measure, question: Question, table: type[Table]) -> pl.Expr:
    query = question.query
    if isinstance(measure, Sum):
        total = pl.col(measure.name).sum()
        if query.is_money(measure) and query.currency is not None:
            # An amount that nobody knows is null, never zero.
            total = pl.when(pl.col(query.currency).first() != "").then(total)
        return total.alias(measure.name)
    assert isinstance(measure, Distinct)
    named = pl.col(measure.of).filter(pl.col(measure.of) != "")
    if _is_listed_once(measure, question, table):
        return named.len().cast(pl.Int64).alias(measure.name)
    if query.tenant in question.group_by or len(question.filters.get(query.tenant, ())) == 1:
        return named.n_unique().cast(pl.Int64).alias(measure.name)
    both = pl.struct(query.tenant, measure.of).filter(pl.col(measure.of) != "")
    return both.n_unique().cast(pl.Int64).alias(measure.name)


def _is_listed_once(measure: Distinct, question: Question, table: type[Table]) -> bool:
    """The table has one row of each value in a group: counting rows will do, a tenth of the time of comparing them."""
    alone = {*table.primary_key} <= {table.partition, question.query.tenant, measure.of, *question.group_by}
    month = question.period.first.replace(day=1)
    one_month = table in question.query.monthly and question.period.last < month + dt.timedelta(31)
    told_apart = MONTH in question.group_by if table in question.query.monthly else DAY in question.group_by
    return alone and (told_apart or (one_month and question.period.last.month == month.month))


def _quantile(rows: pl.LazyFrame, keys: Sequence[pl.Expr], names: list[str], measure: Quantile) -> pl.DataFrame:
    """The first bucket by which the share is reached, counted in whole numbers."""
    counted = rows.group_by([*keys, measure.bucket]).agg(pl.col(measure.count).sum()).collect()
    reached = pl.col(measure.count).cum_sum().over(names, order_by=measure.bucket) * PER_MILLE
    wanted = pl.col(measure.count).sum().over(names) * round(measure.share * PER_MILLE)
    value = measure.value(pl.col(measure.bucket).min()).alias(measure.name)
    return counted.filter(reached >= wanted, pl.col(measure.count) > 0).group_by(names).agg(value)


def _ordered(question: Question, rows: pl.DataFrame) -> pl.DataFrame:
    """As asked; else time upwards, or without it the greatest first measure first. Equals by their keys."""
    order = list(question.order)
    if not order and not {DAY, MONTH, *_moments(question.query)} & {*question.group_by} and question.measures:
        order = [(question.measures[0].name, True)]
    order += [(name, False) for name in _times_first(question)]
    if not order:
        return rows
    chosen: dict[str, bool] = {}
    for name, descending in order:
        chosen.setdefault(name, descending)
    return rows.sort(list(chosen), descending=list(chosen.values()), nulls_last=True)


def _times_first(question: Question) -> list[str]:
    times = [DAY, MONTH, *_moments(question.query)]
    return sorted(question.group_by, key=lambda name: name not in times)


def _moments(query: Query) -> list[str]:
    return [name for name in query.dimensions if name not in query.filterable]
