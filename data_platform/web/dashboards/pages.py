"""The pages of the dashboards and their addresses.
Belongs here: routes, what a page is made of. Not here: reading marts (marts), sums (series), pictures (plots)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.observability.health.pages import Pages
from data_platform.web.dashboards.drawing import bar
from data_platform.web.dashboards.marts import Mart, Marts
from data_platform.web.dashboards.plots import Plot, plots
from data_platform.web.dashboards.series import Cohort, Period, Ranked, cohorts, listed, ranking
from data_platform.web.dashboards.words import heat, value

PERIODS = (30, 90, 365)
PERIOD = 90
MOST_LISTED = 1_000
"""Rows of the table behind a picture; the lake has all."""
MOST_RANKED = 200
KEPT_PAGES = 64
"""Made pages that are kept for the next reader, each at most 0.3 MB."""

KEPT_DRAWN = 1_000
"""Panels with their pictures, of one period each."""


@dataclass(frozen=True)
class Shown:
    """One panel, ready for its template."""

    panel: Panel
    address: str
    failure: str | None
    nothing: str | None
    """Why there is nothing to see."""
    plots: Sequence[Plot] = ()
    more: int = 0
    """Values that have no picture, for the others' sake."""
    cohorts: Sequence[Cohort] = ()
    known: Sequence[int] = ()
    """Which of the panel's columns are known of any cohort."""
    ranked: Sequence[tuple[Ranked, Markup]] = ()


@dataclass
class Made:
    """Pages made of one generation of marts and one snapshot of the health page, whose state stands on top of each."""

    of: object = None
    pages: dict[object, bytes] = field(default_factory=dict)


class DashboardPages:
    """Answers `/dashboards` and a page for each panel, in the frame of the health page."""

    def __init__(self, frame: Pages, dashboards: Sequence[Dashboard]) -> None:
        self.frame, self.dashboards = frame, dashboards
        self.panels = {(one.slug, panel.slug): panel for one in dashboards for panel in one.panels}
        self.marts = Marts(frame.collector.lake, list(self.panels.values()), frame.collector.every)
        own = PackageLoader("data_platform.web.dashboards")
        assert frame.templates.loader is not None
        self.templates: Environment = frame.templates.overlay(loader=ChoiceLoader([own, frame.templates.loader]))
        self.templates.filters |= {"value": value, "heat": heat}
        self._made = Made()
        self._drawn: dict[tuple[str, Period], tuple[Mart, Shown]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/dashboards", self.overview),
            Route("/dashboards/{dashboard}/{panel}", self.panel),
        ]

    def overview(self, request: Request) -> Response:
        period = asked_period(request)

        def make() -> HTMLResponse:
            shown = [(one, [self._shown(one, panel, period) for panel in one.panels]) for one in self.dashboards]
            return self._page(request, "dashboards.html", period, dashboards=shown, here="/dashboards")

        return self._kept(request, period, make)

    def panel(self, request: Request) -> Response:
        period, names = asked_period(request), request.path_params
        panel = self.panels.get((names["dashboard"], names["panel"]))
        if panel is None:
            return self.frame.page(request, "missing.html", self.frame.collector.current(), status=404)

        def make() -> HTMLResponse:
            dashboard = next(one for one in self.dashboards if one.slug == names["dashboard"])
            shown, rows = self._shown(dashboard, panel, period), self.marts.of(panel).rows
            return self._page(
                request,
                "panel.html",
                period,
                shown=shown,
                here=shown.address,
                ranked=ranking(panel, rows, period, MOST_RANKED) if panel.chart == Chart.RANKING else [],
                rows=list(islice(listed(panel, rows, period), MOST_LISTED)) if panel.chart != Chart.RANKING else [],
                most=MOST_RANKED if panel.chart == Chart.RANKING else MOST_LISTED,
                columns=[(label, panel.column(label)) for label in panel.labels],
            )

        return self._kept(request, period, make)

    def _page(self, request: Request, template: str, period: Period, **facts: Any) -> HTMLResponse:
        snapshot = self.frame.collector.current()
        found = self.templates.get_template(template)
        return self.frame.page(request, found, snapshot, period=period, periods=PERIODS, **facts)

    def _kept(self, request: Request, period: Period, make: Callable[[], HTMLResponse]) -> Response:
        """The page as it was made for the reader before, while nothing of it has changed."""
        snapshot = self.frame.collector.current()
        of = (self.marts.generation, snapshot.as_of, self.frame.status(snapshot), self.frame.collector.failure)
        made = self._made
        if made.of != of or len(made.pages) >= KEPT_PAGES:
            made = self._made = Made(of)
        which = (request.url.path, period, request.query_params.get("token"))
        if which not in made.pages:
            made.pages[which] = bytes(make().body)
        return HTMLResponse(made.pages[which])

    def _shown(self, dashboard: Dashboard, panel: Panel, period: Period) -> Shown:
        """Drawn once until its table changes: all pictures of a year take 70 ms, the page around them 10."""
        mart, address = self.marts.of(panel), f"/dashboards/{dashboard.slug}/{panel.slug}"
        of, shown = self._drawn.get((address, period), (None, None))
        if shown is None or of is not mart:
            shown = self._draw(panel, mart, period, address)
            if len(self._drawn) >= KEPT_DRAWN:
                self._drawn = {}  # yesterday's periods
            self._drawn[address, period] = mart, shown
        return shown

    def _draw(self, panel: Panel, mart: Mart, period: Period, address: str) -> Shown:
        if nothing := _nothing(panel, mart, period):
            return Shown(panel, address, mart.failure, nothing)
        if panel.chart == Chart.COHORTS:
            found = cohorts(panel, mart.rows, period)
            return Shown(panel, address, mart.failure, None, cohorts=found, known=_known(found))
        if panel.chart == Chart.RANKING:
            ranked = ranking(panel, mart.rows, period)
            most = max((one.values[0] for one in ranked), default=0)
            bars = [(one, bar(one.values[0], most)) for one in ranked]
            return Shown(panel, address, mart.failure, None if ranked else _zeros(period), ranked=bars)
        drawn, more = plots(panel, mart.rows, period, address.removeprefix("/dashboards/").replace("/", "-"))
        return Shown(panel, address, mart.failure, None if drawn else _zeros(period), plots=drawn, more=more)


def asked_period(request: Request) -> Period:
    """Whole days: today is not over."""
    asked = request.query_params.get("days", "")
    days = int(asked) if asked in map(str, PERIODS) else PERIOD
    return Period(days, today_utc() - dt.timedelta(1))


def _nothing(panel: Panel, mart: Mart, period: Period) -> str | None:
    if mart.rows.is_empty():
        return f"No days yet: nothing has been written to {panel.table.key}."
    if period.of(mart.rows, panel.day).is_empty():
        newest = mart.rows[panel.day][-1]
        return f"No days from {period.first} to {period.last}; the newest is {newest}."
    return None


def _known(found: Sequence[Cohort]) -> list[int]:
    return [
        at
        for at, shares in enumerate(zip(*(one.shares for one in found), strict=True))
        if any(share is not None for share in shares)
    ]


def _zeros(period: Period) -> str:
    return f"Nothing but zeros from {period.first} to {period.last}."
