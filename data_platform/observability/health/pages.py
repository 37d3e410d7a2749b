"""The pages of the health page, their addresses, and how facts read on them.
Belongs here: routes and words. Not here: collecting facts, who may see them (app)."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table
from data_platform.core.errors import counted
from data_platform.core.settings import settings
from data_platform.observability.alerts.problems import Level, Problem, first_step
from data_platform.observability.contracts import FreshnessState
from data_platform.observability.health.charts import sparkline
from data_platform.observability.health.days import DayState
from data_platform.observability.health.facts import Collector, HealthSnapshot, TableFacts
from data_platform.observability.health.markup import breakable, sentence, shown
from data_platform.observability.health.open_problems import follows
from data_platform.observability.health.table_page import (
    COLUMNS_OPEN,
    MONTHS_OPEN,
    SYMBOLS,
    checks,
    columns,
    lineage_of,
    months,
    spoken,
    volume,
)
from data_platform.observability.health.text import LONGEST, LONGEST_TITLE, visible, visible_start
from data_platform.observability.health.words import ago, measured, moment, number, percent, size, span
from data_platform.observability.runbook import address, sections
from data_platform.operations.dictionary import freshness_text, window_text

SPARK_DAYS = 30
MOST_PROBLEMS = 50
"""Shown on the front page; nobody reads more, and health.json has all."""
OPEN_PROBLEMS = 6
"""Shown before the fold."""
OVERDUE = 10
"""A snapshot older than so many intervals means that the page itself is broken."""
REFRESH_SECONDS = 60
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNREADABLE_STEP = ("Look at its folder in the lake and at the log of this server.", "a-file-is-damaged")


@dataclass(frozen=True)
class Wanted:
    """What a reader asked the front page for."""

    words: str = ""
    broken: bool = False
    refresh: bool = True

    def has(self, *texts: str) -> bool:
        """Each word is in one of the texts."""
        found = " ".join(texts).lower()
        return all(word in found for word in self.words.lower().split())


def _wanted(request: Request) -> Wanted:
    asked = request.query_params
    words = asked.get("q", "")[:LONGEST].strip()
    return Wanted(words, asked.get("show") == "broken", asked.get("refresh") != "off")


BAD = (DayState.FAILED, DayState.STALE, DayState.MISSING)


class Pages:
    """Answers every address from the collector's newest snapshot."""

    def __init__(self, collector: Collector, beside: Mapping[str, str] | None = None) -> None:
        """`beside`: addresses of other pages of this server, with what they are called."""
        self.collector = collector
        self._front: tuple[object, bytes] = (None, b"")
        self._lineage = lineage_of(collector.tables)
        self.templates = Environment(
            loader=PackageLoader("data_platform.observability.health"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= {"shown": shown, "ago": ago, "number": number, "moment": moment, "percent": percent}
        self.templates.filters |= {"breakable": breakable, "sentence": sentence}
        self.templates.filters["seen"] = lambda value: visible_start(value, LONGEST_TITLE)
        self.templates.filters |= {"size": size, "measured": measured, "counted": counted}
        self.templates.globals |= {"span": span, "run_link": run_link, "quoted": shlex.quote, "beside": beside or {}}

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.front),
            Route("/tables/{group}/{name}", self.table),
            Route("/runbook", self.runbook),
            Route("/runbook/{anchor}", self.runbook),
            Route("/health.json", self.health),
            Route("/healthz", self.alive),
            Mount("/static", StaticFiles(packages=[("data_platform.observability.health", "static")])),
        ]

    # --------------------------------------------------------------------------------------------- pages
    def front(self, request: Request) -> Response:
        """Made once per snapshot where nothing is searched: with 200 tables that takes 60 ms on a busy core."""
        snapshot = self.collector.current()
        if snapshot.empty:
            return self.page(request, "empty.html", snapshot)
        wanted = _wanted(request)
        if wanted != Wanted():
            return self._overview_page(request, snapshot, wanted)
        drawn_for = (snapshot.as_of, self.status(snapshot), self.collector.failure, request.query_params.get("token"))
        known, body = self._front
        if known != drawn_for:
            body = bytes(self._overview_page(request, snapshot, wanted).body)
            self._front = (drawn_for, body)
        return HTMLResponse(body)

    def _overview_page(self, request: Request, snapshot: HealthSnapshot, wanted: Wanted) -> HTMLResponse:
        keys = {problem.key for problem in snapshot.problems}
        found = [problem for problem in snapshot.problems if wanted.has(problem.key, problem.title, problem.owner)]
        causes = [problem for problem in found if not follows(problem, keys)]
        troubled = {problem.asset for problem in snapshot.problems}
        named = [f for f in snapshot.tables.values() if wanted.has(f.table.key, f.table.owner)]
        if wanted.broken:
            named = [facts for facts in named if facts.table.key in troubled]
        quiet = [facts for facts in named if facts.quiet and facts.table.key not in troubled]
        listed = [facts for facts in named if facts not in quiet]
        return self.page(
            request,
            "front.html",
            snapshot,
            wanted=wanted,
            refresh=REFRESH_SECONDS if wanted.refresh else None,
            problems=causes[:MOST_PROBLEMS],
            problem_count=len(causes),
            open_problems=OPEN_PROBLEMS,
            consequences=[problem for problem in found if follows(problem, keys)][:MOST_PROBLEMS],
            ended=[episode for episode in snapshot.ended if wanted.has(episode.problem.key, episode.problem.owner)],
            groups={
                group: [self._overview(facts, snapshot) for facts in of_group]
                for group, of_group in groupby(listed, key=lambda facts: facts.table.table_group())
            },
            quiet=[facts.table.key for facts in quiet],
            levels=snapshot.levels,
        )

    def table(self, request: Request) -> Response:
        snapshot = self.collector.current()
        facts = snapshot.tables.get(f"{request.path_params['group']}/{request.path_params['name']}")
        if facts is None:
            return self.page(request, "missing.html", snapshot, status=404)
        table = facts.table
        return self.page(
            request,
            "table.html",
            snapshot,
            facts=facts,
            table=table,
            columns=columns(table, self._lineage),
            checks=checks(facts),
            fresh=freshness_text(table.fresh) if table.fresh else None,
            inputs=[(days.table.key, window_text(table, days)) for days in inputs_of(table)],
            outputs=sorted(k for k, f in snapshot.tables.items() if table in [d.table for d in inputs_of(f.table)]),
            problems=[problem for problem in snapshot.problems if problem.asset == table.key],
            ended=[episode for episode in snapshot.ended if episode.problem.asset == table.key],
            months=months(facts),
            months_open=MONTHS_OPEN,
            columns_open=COLUMNS_OPEN,
            legend=[(state, SYMBOLS[state], len(facts.days_in(state))) for state in DayState],
            volume=volume(facts),
            history=facts.history.to_dicts(),
        )

    def runbook(self, request: Request) -> Response:
        """One heading of the runbooks, or the list of all of them."""
        snapshot, known = self.collector.current(), sections()
        name = request.path_params.get("anchor")
        if not known or (name is not None and name not in known):
            return self.page(request, "missing.html", snapshot, status=404)
        return self.page(request, "runbook.html", snapshot, sections=known, section=known[name] if name else None)

    def alive(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    def health(self, _request: Request) -> Response:
        snapshot = self.collector.current()
        return JSONResponse(
            {
                "status": self.status(snapshot),
                "as_of": snapshot.as_of.isoformat(),
                "problems": [_problem_json(problem) for problem in snapshot.problems],
                "tables": {key: _table_json(facts) for key, facts in snapshot.tables.items()},
                "service_levels": [
                    {name: level[name] for name in ("name", "value", "goal", "met", "unit")}
                    for level in snapshot.levels
                ],
            }
        )

    def status(self, snapshot: HealthSnapshot) -> str:
        """`critical`, `warning`, `ok`; `empty` before the first build, `unknown` when the facts are too old."""
        if dt.datetime.now(dt.UTC) - snapshot.as_of > dt.timedelta(seconds=self.collector.every * OVERDUE):
            return "unknown"
        if snapshot.empty:
            return "empty"
        worst = max((problem.level for problem in snapshot.problems), default=Level.INFO)
        return "ok" if worst == Level.INFO else str(worst)

    # --------------------------------------------------------------------------------------------- parts
    def page(
        self, request: Request, template: str | Template, snapshot: HealthSnapshot, status: int = 200, **facts: Any
    ) -> HTMLResponse:
        """A page in the frame that all have: name, state, and where else to look."""
        # A browser that came with ?token= has no other way to show it again on the next page: there are no cookies.
        token = request.query_params.get("token")

        def link(path: str, fragment: str = "", **asked: object) -> str:
            query = urlencode({**asked, "token": token} if token else asked)
            return quote(path) + (f"?{query}" if query else "") + (f"#{quote(fragment)}" if fragment else "")

        page = self.templates.get_template(template).render(
            link=link,
            snapshot=snapshot,
            status=self.status(snapshot),
            failure=self.collector.failure,
            now=dt.datetime.now(dt.UTC),
            what_to_do=what_to_do,
            token=token,
            dagster_url=settings().dagster_url.rstrip("/"),
            runbook=sections(),
            refresh=facts.pop("refresh", None),
            **facts,
        )
        # A lone surrogate in data cannot be encoded; `shown` shows them, this is for what it might miss.
        return HTMLResponse(page.encode("utf-8", "replace"), status)

    def _overview(self, facts: TableFacts, snapshot: HealthSnapshot) -> dict[str, Any]:
        days = facts.written
        recent = _recent_rows(facts, snapshot.as_of.date()) if days else []
        return {
            "facts": facts,
            "key": facts.table.key,
            "name": facts.table.table_name(),
            "freshness": FRESHNESS_WORDS[facts.freshness.state],
            "bad_days": [(state, SYMBOLS[state], n) for state in BAD if (n := facts.states.count(state))],
            "troubled": any(problem.asset == facts.table.key for problem in snapshot.problems),
            "spark": sparkline(recent, spoken(recent)) if any(recent) else "",
        }


BAD = (DayState.FAILED, DayState.STALE, DayState.MISSING)
FRESHNESS_WORDS: dict[FreshnessState | None, tuple[str, str]] = {
    FreshnessState.FRESH: ("ok", "✓ fresh"),
    FreshnessState.STALE: ("warned", "! stale"),
    FreshnessState.CRITICAL: ("failed", "✗ critical"),
    FreshnessState.NOT_BUILT: ("missing", "not built"),
    None: ("", ""),
}


def what_to_do(problem: Problem) -> tuple[str, str]:
    """The first step, and the heading of the runbook that says the rest."""
    return first_step(problem) or UNREADABLE_STEP


def run_link(dagster_url: str, run_id: str | None) -> str | None:
    """The page of a run in Dagster; None for verdicts of the platform itself, which no run reached."""
    return f"{dagster_url}/runs/{run_id}" if run_id and RUN_ID.fullmatch(run_id) else None


def _recent_rows(facts: TableFacts, today: dt.date) -> list[int]:
    """Rows of each of the last 30 days."""
    assert facts.written is not None
    rows: list[int] = facts.written.rows.tolist()
    after = (today - facts.written.last).days
    padded = [0] * SPARK_DAYS + rows + [0] * max(after, 0)
    end = len(padded) if after >= 0 else len(padded) + after
    return padded[max(end - SPARK_DAYS, 0) : end]


def _problem_json(problem: Problem) -> dict[str, Any]:
    step, heading = what_to_do(problem)
    return {
        "key": problem.key,
        "level": str(problem.level),
        "title": visible(problem.title),
        "what": visible(problem.what),
        "owner": problem.owner,
        "since": problem.since.isoformat(),
        "table": problem.asset,
        "failed_rows": problem.failed_rows,
        "sample": [visible(key) for key in problem.sample],
        "follows_from": list(problem.explained_by),
        "first_step": step,
        "runbook": address(heading),
    }


def _table_json(facts: TableFacts) -> dict[str, Any]:
    table: type[Table] = facts.table
    return {
        "owner": table.owner,
        "rows": facts.rows,
        "newest": facts.written.last.isoformat() if facts.written else None,
        "freshness": facts.freshness.state.value if facts.freshness.state else None,
        "age_seconds": facts.freshness.age.total_seconds() if facts.freshness.age is not None else None,
        "rules": vars(facts.counts),
        "days": {state.value: facts.states.count(state) for state in DayState},
        "rejected_share": facts.rejected_share,
        "contract_version": table.version(),
    }
