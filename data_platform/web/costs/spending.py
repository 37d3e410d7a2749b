"""What was spent, for somebody: days that are over as the tables say, today as the calls that arrived say.
Belongs here: adding the two up. Not here: following calls (today), how it reads (pages)."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from data_platform.core.contract.queries import DAY
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import Reach
from data_platform.sources.live_spend import Gauges, Listing, LiveSpend
from data_platform.web.costs.today import Today
from data_platform.web.query.answering import answer
from data_platform.web.query.questions import Period, Question
from data_platform.web.query.tables import TenantTables

MEASURES = ("cost", "calls", "unpriced_calls")
PLOTTED_DAYS = 30
ALL_ROWS = 100_000_000
"""No answer has so many: sums that a page adds up must miss none."""
MOST_LISTED = 10
MOST_GAUGES = 12
FEATURE, MODEL = "feature", "model"


@dataclass(frozen=True)
class Amount:
    """Of one currency; without a currency calls whose cost nobody knows."""

    currency: str
    cost: Decimal
    calls: int


@dataclass(frozen=True)
class Ranked:
    name: str
    amount: Amount
    share: float
    """Of the greatest of its currency."""


@dataclass(frozen=True)
class Gauge:
    """A budget as a bar: shares of the whole."""

    name: str
    currency: str
    spent: Decimal
    whole: Decimal
    forecast: Decimal | None

    @property
    def share(self) -> float:
        return float(self.spent / self.whole) if self.whole else 0.0

    @property
    def ahead(self) -> float | None:
        return float(self.forecast / self.whole) if self.forecast is not None and self.whole else None


@dataclass(frozen=True)
class Listed:
    listing: Listing
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Spent:
    """Everything the page shows."""

    today: Sequence[Amount]
    month: Sequence[Amount]
    unpriced: int
    """Calls of the month."""
    rankings: Mapping[str, Sequence[Ranked]]
    """Dimension → the greatest of the month."""
    days: Sequence[dt.date]
    daily: Sequence[float | None]
    """Of `currency`, by day, today last."""
    currency: str
    gauges: Sequence[Gauge]
    listed: Sequence[Listed]


class Spending:
    """Answers from the tables are kept while neither their versions nor the day changed."""

    def __init__(self, spend: LiveSpend, today: Today, tables: TenantTables) -> None:
        self._spend, self._today, self._tables = spend, today, tables
        self._kept = functools.lru_cache(256)(self._over)

    def of(self, reach: Reach, now: dt.datetime) -> Spent:
        """What somebody may see, as of now."""
        day = now.date()
        query = self._spend.query
        over = self._kept(reach, day, self._versions())
        today = self._of_today(reach, day)
        dimensions = [*([query.tenant] if reach.tenant is None else []), MODEL, FEATURE]
        month = {name: _added(name, over[name], today) for name in dimensions}
        total = _by_currency(month[MODEL])
        currency = max(total, key=lambda one: one.calls).currency if total else ""
        daily = dict(over[DAY].filter(pl.col("currency") == currency).select(DAY, "cost").iter_rows())
        daily[day] = today.filter(pl.col("currency") == currency)["cost"].sum()
        days = [day - dt.timedelta(back) for back in range(PLOTTED_DAYS - 1, -1, -1)]
        return Spent(
            today=_by_currency(today),
            month=total,
            unpriced=int(month[MODEL]["unpriced_calls"].sum()),
            rankings={name: _ranked(name, rows) for name, rows in month.items()},
            days=days,
            daily=[float(daily[one]) if daily.get(one) is not None else None for one in days],
            currency=currency,
            gauges=over["gauges"],
            listed=over["listed"],
        )

    def _versions(self) -> tuple[int | None, ...]:
        gauges, listings = (one.table for one in self._spend.gauges), (one.table for one in self._spend.listings)
        tables = (*self._spend.query.every_table, *gauges, *listings)
        return tuple(self._tables.version(table) for table in tables)

    def _over(self, reach: Reach, day: dt.date, _versions: tuple[int | None, ...]) -> dict[str, Any]:
        """What tables say of the days before: of this month by each dimension, of 30 days by day."""
        yesterday, first = day - dt.timedelta(1), day.replace(day=1)
        names = (self._spend.query.tenant, MODEL, FEATURE)
        found: dict[str, Any] = {name: self._asked(reach, day, Period(first, yesterday), name) for name in names}
        found[DAY] = self._asked(reach, day, Period(day - dt.timedelta(PLOTTED_DAYS - 1), yesterday), DAY)
        recent = Period(day - dt.timedelta(PLOTTED_DAYS - 1), day)
        found["gauges"] = [gauge for one in self._spend.gauges for gauge in self._gauges(one, reach, recent)]
        found["listed"] = [Listed(one, self._listed(one, reach, recent)) for one in self._spend.listings]
        return found

    def _of_today(self, reach: Reach, day: dt.date) -> pl.DataFrame:
        """By tenant, model, feature and currency. Of each tenant either the calls that arrived, or the table where it
        knows more: files that were dropped by hand are seen there alone."""
        tenant = self._spend.query.tenant
        table = self._kept_today(reach, day)
        live = self._today.rows(reach)
        if live is None:
            return table
        live = live.select(table.columns).cast(table.schema)
        calls = pl.concat([live.with_columns(live=True), table.with_columns(live=False)])
        known = calls.group_by(tenant, "live").agg(pl.col("calls").sum()).sort("calls", "live").group_by(tenant).last()
        return calls.join(known.select(tenant, "live"), on=[tenant, "live"]).drop("live")

    def _kept_today(self, reach: Reach, day: dt.date) -> pl.DataFrame:
        return self._asked(reach, day, Period(day, day), self._spend.query.tenant, MODEL, FEATURE)

    def _asked(self, reach: Reach, today: dt.date, period: Period, *group_by: str) -> pl.DataFrame:
        """Rows of the query: group_by, currency, MEASURES; costs that nobody knows are 0 under an empty currency."""
        query = self._spend.query
        known = query.measures_by_name
        measures = tuple(known[name] for name in MEASURES)
        filters: dict[str, tuple[str, ...]] = {}
        if period.last < period.first:  # on the first of a month no day of it is over
            period, filters = Period(period.last, period.last), {query.tenant: ()}
        question = Question(query, period, filters, (*group_by, "currency"), measures, limit=ALL_ROWS)
        return answer(question, self._tables, reach, today).rows.with_columns(pl.col("cost").fill_null(0))

    def _gauges(self, one: Gauges, reach: Reach, recent: Period) -> list[Gauge]:
        rows = self._read(one.table, reach, recent)
        day = one.table.partition
        assert day is not None
        newest = rows.filter(pl.col(day) == pl.col(day).max(), pl.col(one.whole).is_not_null())
        found = [
            Gauge(row[one.name], row[one.currency], row[one.spent], row[one.whole], row[one.forecast])
            for row in newest.iter_rows(named=True)
        ]
        return sorted(found, key=lambda gauge: -gauge.share)[:MOST_GAUGES]

    def _listed(self, one: Listing, reach: Reach, recent: Period) -> list[tuple[Any, ...]]:
        names = list(one.by.values())
        sums = list(one.sums.values())
        rows = self._read(one.table, reach, recent).group_by(names).agg(pl.col(sums).sum())
        return rows.sort(sums[0], *names, descending=[True, *[False] * len(names)]).head(MOST_LISTED).rows()

    def _read(self, table: Any, reach: Reach, recent: Period) -> pl.DataFrame:
        try:
            return self._tables.scan(table, reach, recent, {}).collect()
        except Problem:  # a table of operators, and a tenant looks
            return pl.DataFrame(schema=table.schema())


def _added(name: str, over: pl.DataFrame, today: pl.DataFrame) -> pl.DataFrame:
    columns = [name, "currency", *MEASURES]
    both = pl.concat([over.select(columns), today.select(columns).cast(over.select(columns).schema)])
    return both.group_by(name, "currency").agg(pl.col(MEASURES).sum())


def _by_currency(rows: pl.DataFrame) -> list[Amount]:
    """The currency with the most calls first; calls without a price last."""
    found = rows.group_by("currency").agg(pl.col("cost", "calls").sum())
    amounts = [Amount(*row) for row in found.select("currency", "cost", "calls").iter_rows() if row[0]]
    return sorted(amounts, key=lambda one: (-one.calls, one.currency))


def _ranked(name: str, rows: pl.DataFrame) -> list[Ranked]:
    """The greatest amounts; those of other currencies than the first follow its own."""
    most = {one.currency: one for one in _by_currency(rows)}
    found: list[Ranked] = []
    for currency in most:
        own = rows.filter(pl.col("currency") == currency).sort("cost", name, descending=[True, False])
        greatest = own["cost"].max()
        for value, cost, calls in own.select(name, "cost", "calls").head(MOST_LISTED).iter_rows():
            share = float(cost / greatest) if greatest else 0.0
            found.append(Ranked(value, Amount(currency, cost, calls), share))
    return found[:MOST_LISTED]
