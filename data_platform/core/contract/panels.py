"""What a dashboard shows of a table: panels, declared by columns of its contract.
Belongs here: the declaration, and what is wrong with one. Not here: reading tables, drawing (web/dashboards)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import polars as pl

from data_platform.core.contract.table import Column, Table

MOST_SERIES = 5
"""More lines or layers than this are told apart by nobody."""


class Chart(StrEnum):
    """How the columns are shown."""

    LINES = "lines"
    """What is measured of a day, one line per column: users, a share, a mean."""
    BARS = "bars"
    """What adds up over days; a year is shown by week. Columns of `below` go down from zero."""
    BANDS = "bands"
    """How many rows of a day have a value of the one column up to each of `limits`, and above the last: layers."""
    LAYERS = "layers"
    """Numbers of a day that make a whole, one layer per column."""
    COHORTS = "cohorts"
    """Shares as a heat map: cohorts by week, or by month for a year, weighted by the column `weight`."""
    RANKING = "ranking"
    """The ten values of the column `by` with the greatest sum of the first column over the days shown."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of one table with days. `columns` are what is shown, by the words for them."""

    title: str
    text: str
    """What one sees, and how to read it."""
    chart: Chart
    columns: Mapping[str, Any]
    below: Mapping[str, Any] = field(default_factory=dict)
    by: Any = None
    """The column that tells several rows of a day apart: a picture for each value of it, or what is ranked."""
    weight: Any = None
    limits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise TypeError(f"panel “{self.title}”: {problem}")

    @functools.cached_property
    def table(self) -> type[Table]:
        table: type[Table] = next(iter(self.columns.values())).table
        return table

    @property
    def day(self) -> str:
        """The column of days."""
        assert self.table.partition is not None
        return self.table.partition

    @property
    def slug(self) -> str:
        """Its place in an address."""
        return _slug(self.title)

    @property
    def series(self) -> dict[str, Column]:
        """Everything measured, by the words for it: first what goes up, then what goes down."""
        return {**self.columns, **self.below}

    @functools.cached_property
    def bands(self) -> dict[str, tuple[int | None, int | None]]:
        """Band in words → what its values are above, and at most; of a panel with limits."""
        found: dict[str, tuple[int | None, int | None]] = {}
        unit = self.column("").unit
        for above, most in pairwise([None, *self.limits, None]):
            if above is None:
                words = str(most) if most == 0 else f"up to {most}"
            elif most is None:
                words = f"{above + 1} or more"
            else:
                words = str(most) if most == above + 1 else f"{above + 1} to {most}"
            found[f"{words} {unit}" if unit else words] = (above, most)
        return found

    @property
    def labels(self) -> list[str]:
        """What is told apart by a colour, in words."""
        return list(self.bands if self.limits else self.series)

    def column(self, label: str) -> Column:
        """The column that a label is of; all bands are of one."""
        return next(iter(self.series.values())) if self.limits else self.series[label]

    @property
    def needed(self) -> list[str]:
        """The columns of the table that are read."""
        others = [column for column in (self.by, self.weight) if column is not None]
        return list(dict.fromkeys([self.day, *(column.name for column in [*others, *self.series.values()])]))


@dataclass(frozen=True)
class Dashboard:
    """The panels of a domain: `DASHBOARD` of its module `panels`."""

    title: str
    panels: tuple[Panel, ...]
    position: int = 100
    """Smaller ones stand further up."""

    def __post_init__(self) -> None:
        slugs = [panel.slug for panel in self.panels]
        if twice := {slug for slug in slugs if slugs.count(slug) > 1}:
            raise TypeError(f"dashboard “{self.title}” has two panels called {', '.join(sorted(twice))}; rename one")

    @property
    def slug(self) -> str:
        return _slug(self.title)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _problems(panel: Panel) -> Iterator[str]:
    """What nothing would heed, or nobody could read."""
    named = [*panel.columns.values(), *panel.below.values()]
    keys = [column for column in (panel.by, panel.weight) if column is not None]
    if strangers := [one for one in [*named, *keys] if not isinstance(one, Column) or one.table is None]:
        yield f"{strangers} are no columns of a contract; write Table.column"
        return
    if not panel.columns or len({one.table for one in [*named, *keys]}) != 1:
        yield "name columns of one table"
        return
    if panel.table.partition is None:
        yield f"{panel.table.key} has no days to show"
    if personal := [one.name for one in [*named, *keys] if one.personal]:
        yield f"{', '.join(personal)} tells of single persons"
    if odd := [one.name for one in named if not one.dtype.is_numeric()]:
        yield f"{', '.join(odd)} is no number"
    if len(panel.columns) + len(panel.below) > MOST_SERIES and panel.chart in (Chart.LINES, Chart.BARS, Chart.LAYERS):
        yield f"show {MOST_SERIES} columns at most"
    yield from _options(panel)


def _options(panel: Panel) -> Iterator[str]:
    chart = panel.chart
    if panel.below and chart != Chart.BARS:
        yield f"below is for {Chart.BARS}"
    if (panel.weight is not None) != (chart == Chart.COHORTS):
        yield f"weight is for {Chart.COHORTS}, which need one"
    if bool(panel.limits) != (chart == Chart.BANDS):
        yield f"limits are for {Chart.BANDS}, which need them"
    if chart == Chart.BANDS and (len(panel.columns) != 1 or len(panel.limits) >= MOST_SERIES):
        yield f"{Chart.BANDS} are of one column, with fewer than {MOST_SERIES} limits"
    if chart == Chart.BANDS and next(iter(panel.columns.values())).dtype != pl.Int64():
        yield f"{Chart.BANDS} are of whole numbers"
    if list(panel.limits) != sorted(set(panel.limits)):
        yield "write limits in ascending order"
    if panel.by is None and chart == Chart.RANKING:
        yield f"name in `by` what a {Chart.RANKING} ranks"
    if panel.by is not None and (chart in (Chart.BANDS, Chart.LAYERS, Chart.COHORTS) or panel.by.dtype != pl.String()):
        yield f"by is a column of text, for {Chart.LINES}, {Chart.BARS} and {Chart.RANKING}"
