"""A picture and the words around it: its key, its axes, and what it says to those who do not see it.
Not here: coordinates (drawing), what is summed (series), pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from data_platform.core.contract.panels import Chart, Panel
from data_platform.web.dashboards.drawing import draw, ticks
from data_platform.web.dashboards.series import Period, Picture, Series, pictures
from data_platform.web.dashboards.words import changed, short, value

LABELLED = 4
"""Dates under a picture."""
HALF_A_YEAR = 183


@dataclass(frozen=True)
class Key:
    """What stands beside a picture for one of its series."""

    swatch: str
    label: str
    number: str
    change: str


@dataclass(frozen=True)
class Plot:
    """A picture and the words around it."""

    name: str | None
    svg: Markup
    grid: Sequence[str]
    """Values of the grid's lines, from above downwards."""
    dates: Sequence[str]
    keys: Sequence[Key]
    weekly: bool


def plots(panel: Panel, rows: pl.DataFrame, period: Period, name: str) -> tuple[list[Plot], int]:
    """One for each picture of the panel, and how many there are not; `name` is unique on the page."""
    found, more = pictures(panel, rows, period)
    return [_plot(panel, one, period, f"{name}-{at}") for at, one in enumerate(found)], more


def _plot(panel: Panel, picture: Picture, period: Period, name: str) -> Plot:
    def tell(point: int) -> str:
        texts = [f"{one.label} {_number_text(panel, one, one.values[point])}" for one in picture.series]
        return f"{'week from ' if picture.span > 1 else ''}{picture.points[point]:%a %Y-%m-%d}: {', '.join(texts)}"

    of = f", {picture.name}" if picture.name else ""
    label = f"{panel.title}{of}, {period.first} to {period.last}"
    described = "; ".join(_described(panel, one) for one in picture.series)
    column = panel.column(panel.labels[0])
    # What goes down is no negative amount: it is what was given back.
    grid = [short(abs(at) if panel.below else at, column) for at in reversed(ticks(panel.chart, picture))]
    return Plot(
        picture.name,
        draw(panel.chart, picture, label, described, name, tell),
        grid,
        _dates(picture.points),
        [_key(panel, one, at, period) for at, one in enumerate(picture.series)],
        picture.span > 1,
    )


def _key(panel: Panel, one: Series, at: int, period: Period) -> Key:
    swatch = f"{'b' if panel.chart in (Chart.BANDS, Chart.LAYERS) else 's'}{at}"
    return Key(
        f"{swatch} {panel.chart}", one.label, _number_text(panel, one, one.number), changed(one.change, period.days)
    )


def _number_text(panel: Panel, one: Series, found: float | None) -> str:
    return value(found, panel.column(one.label), counts=bool(panel.limits))


def _described(panel: Panel, one: Series) -> str:
    known = [found for found in one.values if found is not None]
    if not known:
        return f"{one.label}: no values"
    least, most, now = (_number_text(panel, one, found) for found in (min(known), max(known), one.number))
    return f"{one.label}: {least} to {most}, {now} {'in all' if panel.chart == Chart.BARS else 'at last'}"


def _dates(points: Sequence[dt.date]) -> list[str]:
    """Some of them at equal distances; over half a year the outer ones say theirs."""
    last = len(points) - 1
    shown = [points[round(last * part / (LABELLED - 1))] for part in range(LABELLED)]
    long = (points[-1] - points[0]).days > HALF_A_YEAR
    return [
        f"{day.day} {day:%b %Y}" if long and day in (shown[0], shown[-1]) else f"{day.day} {day:%b}" for day in shown
    ]
