"""Rows by day made ready for a picture: a period's days, weeks of a year, totals, the change since the period before.
Belongs here: arithmetic over what is kept. Not here: reading it (marts), drawing (drawing), words of pages (pages)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from data_platform.core.contract.panels import Chart, Panel

WEEK = 7
MOST_BARS = 92
"""Bars of more days than these are narrower than four pixels of a phone: they are added up by week."""
MOST_PICTURES = 3
"""Values of `by` that get a picture; the rest are in the table."""
RANKED = 10


@dataclass(frozen=True)
class Period:
    """Whole days, ending with `last`."""

    days: int
    last: dt.date

    @property
    def first(self) -> dt.date:
        return self.last - dt.timedelta(self.days - 1)

    @property
    def before(self) -> Period:
        return Period(self.days, self.first - dt.timedelta(1))

    def of(self, rows: pl.DataFrame, day: str) -> pl.DataFrame:
        return rows.filter(pl.col(day).is_between(self.first, self.last))


@dataclass(frozen=True)
class Series:
    """One line, layer or colour of bars: a value for each point of its picture."""

    label: str
    values: Sequence[float | None]
    number: float | None
    """The number beside its name: the newest value, or the total of what adds up."""
    change: float | None
    """Of that number since the period before, as a share; None where it is not known."""
    below: bool = False


@dataclass(frozen=True)
class Picture:
    """Series over the same days, or over weeks named by their first day."""

    name: str | None
    """The value of `by` that it is of."""
    points: Sequence[dt.date]
    span: int
    """Days of a point."""
    series: Sequence[Series]


def pictures(panel: Panel, rows: pl.DataFrame, period: Period) -> tuple[list[Picture], int]:
    """One, or one for each value of `by` with anything but zeros, those with the most days first; and how many values
    have none because others come before them."""
    labels = _names(panel)
    if panel.by is None:
        return [_picture(panel, labels, rows, period, None)], 0
    values = _by_days(panel, period.of(rows, panel.day))
    shown = [
        _picture(panel, labels, rows.filter(pl.col(panel.by.name) == value), period, value)
        for value in values[:MOST_PICTURES]
    ]
    return shown, len(values) - len(shown)


def _names(panel: Panel) -> dict[str, str]:
    """What is shown, in words → its column in what is kept."""
    return {label: label if panel.limits else panel.column(label).name for label in panel.labels}


def _by_days(panel: Panel, rows: pl.DataFrame) -> list[str]:
    measured = [column.name for column in panel.series.values()]
    counted = rows.filter(pl.any_horizontal(pl.col(measured) != 0)).group_by(panel.by.name).len()
    found: list[str] = counted.sort("len", panel.by.name, descending=[True, False])[panel.by.name].to_list()
    return found


def _picture(panel: Panel, labels: Mapping[str, str], rows: pl.DataFrame, period: Period, name: str | None) -> Picture:
    adds_up = panel.chart == Chart.BARS
    span = WEEK if adds_up and period.days > MOST_BARS else 1
    whole = _every_day(rows, panel.day, period)
    points = _weeks(whole, panel.day, list(labels.values())) if span == WEEK else whole
    numbers_of = _totals if adds_up else _newest
    now, earlier = numbers_of(whole, labels), numbers_of(_every_day(rows, panel.day, period.before), labels)
    if adds_up and (rows.is_empty() or rows[panel.day].min() > period.before.first):  # type: ignore[operator]
        earlier = {}
    series = [
        Series(
            label, points[column].to_list(), now[label], _change(now[label], earlier.get(label)), label in panel.below
        )
        for label, column in labels.items()
    ]
    return Picture(name, points[panel.day].to_list(), span, series)


def _every_day(rows: pl.DataFrame, day: str, period: Period) -> pl.DataFrame:
    """A row for each day of the period, nulls where there is none."""
    axis = pl.DataFrame({day: pl.date_range(period.first, period.last, eager=True)})
    return axis.join(rows, on=day, how="left", maintain_order="left")


def _weeks(days: pl.DataFrame, day: str, columns: Sequence[str]) -> pl.DataFrame:
    """Sums of whole weeks, the last of which ends with the last day."""
    numbered = days.tail(len(days) // WEEK * WEEK).with_columns(week=pl.int_range(pl.len()) // WEEK)
    added = [pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in columns]
    return numbered.group_by("week", maintain_order=True).agg(pl.col(day).first(), *added)


def _totals(days: pl.DataFrame, labels: Mapping[str, str]) -> dict[str, float | None]:
    return {label: float(days[name].sum()) if days[name].count() else None for label, name in labels.items()}


def _newest(days: pl.DataFrame, labels: Mapping[str, str]) -> dict[str, float | None]:
    return {label: next(iter(days[name].drop_nulls().tail(1)), None) for label, name in labels.items()}


def _change(now: float | None, earlier: float | None) -> float | None:
    return (now - earlier) / earlier if now is not None and earlier else None


# -------------------------------------------------------------------------------------------------- cohorts
@dataclass(frozen=True)
class Cohort:
    first: dt.date
    last: dt.date
    size: int
    shares: Sequence[float | None]

    @property
    def most(self) -> float:
        return max((share for share in self.shares if share is not None), default=0)


def cohorts(panel: Panel, rows: pl.DataFrame, period: Period) -> list[Cohort]:
    """By week, or by month where the period is longer than a quarter; newest first."""
    day, size = pl.col(panel.day), pl.col(panel.weight.name)
    every = "1mo" if period.days > MOST_BARS else "1w"
    shares = []
    for label, column in panel.columns.items():
        known = pl.col(column.name).is_not_null()
        shares.append(((pl.col(column.name) * size).sum() / size.filter(known).sum()).alias(label))
    found = (
        period.of(rows, panel.day)
        .group_by(day.dt.truncate(every).alias("from"))
        .agg(day.min().alias("first"), day.max().alias("last"), size.sum().alias("size"), *shares)
        .sort("from", descending=True)
    )
    return [
        Cohort(row["first"], row["last"], row["size"], [_number(row[label]) for label in panel.columns])
        for row in found.iter_rows(named=True)
    ]


def _number(value: float | None) -> float | None:
    """0 / 0, of a cohort nothing is known of yet, is no number."""
    return None if value is None or value != value else value


# -------------------------------------------------------------------------------------------------- rankings
@dataclass(frozen=True)
class Ranked:
    name: str
    values: Sequence[float]


def ranking(panel: Panel, rows: pl.DataFrame, period: Period, most: int = RANKED) -> list[Ranked]:
    """The greatest first; equal ones by name."""
    names = [column.name for column in panel.columns.values()]
    summed = period.of(rows, panel.day).group_by(panel.by.name).agg(pl.col(names).sum())
    chosen = summed.filter(pl.col(names[0]) > 0).sort(names[0], panel.by.name, descending=[True, False]).head(most)
    return [Ranked(str(row[0]), row[1:]) for row in chosen.select(panel.by.name, *names).iter_rows()]


# -------------------------------------------------------------------------------------------------- tables
def listed(
    panel: Panel, rows: pl.DataFrame, period: Period
) -> Iterator[tuple[dt.date, str | None, list[float | None]]]:
    """The rows behind a picture, newest first: day, value of `by`, measures in the panel's order."""
    by = pl.lit(None, pl.String).alias("by") if panel.by is None else pl.col(panel.by.name).alias("by")
    chosen = period.of(rows, panel.day).select(pl.col(panel.day), by, *_names(panel).values())
    for day, value, *numbers in chosen.sort(panel.day, "by", descending=[True, False]).iter_rows():
        yield day, value, numbers
