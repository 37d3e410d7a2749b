"""The pages of the health page, their addresses, and how facts read on them.
Belongs here: routes and words. Not here: collecting facts, who may see them (app)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from data_platform.alerts.problems import FIRST_STEPS, Level, Problem
from data_platform.core.contract import Column, Table
from data_platform.core.lineage import inputs_of
from data_platform.core.settings import PROJECT_ROOT, settings
from data_platform.operations.dictionary import bounds_text, freshness_text, type_text, window_text
from data_platform.quality.contracts import FreshnessState
from data_platform.serving.health.charts import bar_chart, sparkline
from data_platform.serving.health.days import DayState
from data_platform.serving.health.facts import Collector, Snapshot, TableFacts
from data_platform.serving.health.open_problems import follows
from data_platform.serving.health.text import LONGEST, LONGEST_TITLE, sample_keys, visible, visible_start

RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
SECTIONS_BY = re.compile(r"^##+ +(.+)$", re.MULTILINE)
SPARK_DAYS = 30
MOST_KEYS = 10
MOST_PROBLEMS = 50
"""Shown on the front page; nobody reads more, and health.json has all."""
OVERDUE = 10
"""A snapshot older than so many intervals means that the page itself is broken."""
UNREADABLE_STEP = ("Look at its folder in the lake and at the log of this server.", "a-file-is-damaged")


class Pages:
    """Answers every address from the collector's newest snapshot."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._front: tuple[object, bytes] = (None, b"")
        self.templates = Environment(
            loader=PackageLoader("data_platform.serving.health"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= {"shown": shown, "ago": ago, "number": number, "moment": moment, "percent": percent}
        self.templates.filters["seen"] = lambda value: visible_start(value, LONGEST_TITLE)
        self.templates.globals["span"] = span

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.front),
            Route("/tables/{group}/{name}", self.table),
            Route("/runbook", self.runbook),
            Route("/health.json", self.health),
            Route("/healthz", self.alive),
            Mount("/static", StaticFiles(packages=[("data_platform.serving.health", "static")])),
        ]

    # --------------------------------------------------------------------------------------------- pages
    def front(self, request: Request) -> Response:
        """Made once per snapshot: with 200 tables that takes 60 ms on a busy core."""
        snapshot = self.collector.current()
        if snapshot.empty:
            return self._page(request, "empty.html", snapshot)
        drawn_for = (snapshot.as_of, self.status(snapshot), self.collector.failure, request.query_params.get("token"))
        known, body = self._front
        if known != drawn_for:
            body = bytes(self._overview_page(request, snapshot).body)
            self._front = (drawn_for, body)
        return HTMLResponse(body)

    def _overview_page(self, request: Request, snapshot: Snapshot) -> HTMLResponse:
        keys = {problem.key for problem in snapshot.problems}
        causes = [problem for problem in snapshot.problems if not follows(problem, keys)]
        groups = {
            group: [self._overview(facts, snapshot) for facts in found]
            for group, found in groupby(snapshot.tables.values(), key=lambda facts: facts.table.table_group())
        }
        return self._page(
            request,
            "front.html",
            snapshot,
            problems=causes[:MOST_PROBLEMS],
            problem_count=len(causes),
            consequences=[problem for problem in snapshot.problems if follows(problem, keys)][:MOST_PROBLEMS],
            groups=groups,
            levels=snapshot.levels,
        )

    def table(self, request: Request) -> Response:
        snapshot = self.collector.current()
        facts = snapshot.tables.get(f"{request.path_params['group']}/{request.path_params['name']}")
        if facts is None:
            return self._page(request, "missing.html", snapshot, status=404)
        table = facts.table
        history = facts.history.to_dicts()
        failing = [row for row in history if row["status"] in ("failed", "errored") and row["sample"]]
        return self._page(
            request,
            "table.html",
            snapshot,
            facts=facts,
            table=table,
            columns=[(c, type_text(c), _bounds(c)) for c in table.columns.values()],
            rules=table.rule_texts(),
            fresh=freshness_text(table.fresh) if table.fresh else None,
            inputs=[(days.table.key, window_text(table, days)) for days in inputs_of(table)],
            outputs=sorted(k for k, f in snapshot.tables.items() if table in [d.table for d in inputs_of(f.table)]),
            problems=[problem for problem in snapshot.problems if problem.asset == table.key],
            months=_months(facts),
            legend=[(state, SYMBOLS[state], len(facts.days_in(state))) for state in DayState],
            volume=_volume(facts),
            history=history,
            samples=[(row, sample_keys(table, row["sample"])[:MOST_KEYS]) for row in failing[:MOST_KEYS]],
        )

    def runbook(self, request: Request) -> Response:
        """docs/runbook.md by headings, so that a problem leads to what to do about it."""
        snapshot = self.collector.current()
        if not RUNBOOK.exists():
            return self._page(request, "missing.html", snapshot, status=404)
        parts = SECTIONS_BY.split(RUNBOOK.read_text(encoding="utf-8"))
        sections = [(heading, anchor(heading), body) for heading, body in zip(parts[1::2], parts[2::2], strict=True)]
        return self._page(request, "runbook.html", snapshot, opening=parts[0], sections=sections)

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

    def status(self, snapshot: Snapshot) -> str:
        """`critical`, `warning`, `ok`; `empty` before the first build, `unknown` when the facts are too old."""
        if dt.datetime.now(dt.UTC) - snapshot.as_of > dt.timedelta(seconds=self.collector.every * OVERDUE):
            return "unknown"
        if snapshot.empty:
            return "empty"
        worst = max((problem.level for problem in snapshot.problems), default=Level.INFO)
        return "ok" if worst == Level.INFO else str(worst)

    # --------------------------------------------------------------------------------------------- parts
    def _page(
        self, request: Request, template: str, snapshot: Snapshot, status: int = 200, **facts: Any
    ) -> HTMLResponse:
        # A browser that came with ?token= has no other way to show it again on the next page: there are no cookies.
        token = request.query_params.get("token")

        def link(path: str, fragment: str = "") -> str:
            query = "?" + urlencode({"token": token}) if token else ""
            return quote(path) + query + (f"#{quote(fragment)}" if fragment else "")

        page = self.templates.get_template(template).render(
            link=link,
            snapshot=snapshot,
            status=self.status(snapshot),
            failure=self.collector.failure,
            now=dt.datetime.now(dt.UTC),
            first_step=first_step,
            dagster_url=settings().dagster_url.rstrip("/"),
            runbook_is_there=RUNBOOK.exists(),
            **facts,
        )
        # A lone surrogate in data cannot be encoded; `shown` shows them, this is for what it might miss.
        return HTMLResponse(page.encode("utf-8", "replace"), status)

    def _overview(self, facts: TableFacts, snapshot: Snapshot) -> dict[str, Any]:
        days = facts.written
        recent = _recent_rows(facts, snapshot.as_of.date()) if days else []
        return {
            "facts": facts,
            "key": facts.table.key,
            "name": facts.table.table_name(),
            "freshness": FRESHNESS_WORDS[facts.freshness.state],
            "bad_days": [(state, SYMBOLS[state], n) for state in BAD if (n := facts.states.count(state))],
            "spark": sparkline(recent, _spoken(recent)) if any(recent) else "",
        }


BAD = (DayState.FAILED, DayState.STALE, DayState.MISSING)
SYMBOLS = {
    DayState.OK: "",
    DayState.WARNED: "!",
    DayState.FAILED: "✗",
    DayState.STALE: "↻",
    DayState.MISSING: "·",
}
"""Beside the colour, for those who do not see it."""
FRESHNESS_WORDS: dict[FreshnessState | None, tuple[str, str]] = {
    FreshnessState.FRESH: ("ok", "✓ fresh"),
    FreshnessState.STALE: ("warned", "! stale"),
    FreshnessState.CRITICAL: ("failed", "✗ critical"),
    FreshnessState.NOT_BUILT: ("missing", "not built"),
    None: ("", ""),
}


def first_step(problem: Problem) -> tuple[str, str]:
    """What to do first, and the heading of the runbook that says the rest."""
    return FIRST_STEPS.get(problem.kind, UNREADABLE_STEP)


def anchor(heading: str) -> str:
    """A heading as Markdown renderers name it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shown(value: object, longest: int = LONGEST) -> Markup:
    """Data as HTML: escaped, isolated from the direction of the text around, cut, and whole in its title."""
    start = visible_start(value, longest)
    whole = visible_start(value, LONGEST_TITLE)
    if whole == start:
        return Markup("<bdi>{}</bdi>").format(start)
    return Markup('<bdi title="{}">{}</bdi>').format(whole, start)


def ago(since: dt.datetime, now: dt.datetime) -> str:
    return span(now - since)


def span(time: dt.timedelta) -> str:
    """`40 s`, `12 min`, `5 h`, `3 days`."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def percent(share: float | None) -> str:
    """Two digits that matter, and never 0 % of something or 100 % of not quite all."""
    if share is None:
        return ""
    if share in (0, 1):
        return f"{share:.0%}"
    return "< 0.01%" if share < 0.0001 else "> 99.99%" if share > 0.9999 else f"{share:.2%}"


def moment(value: dt.datetime | None) -> str:
    return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC" if value else ""


def _bounds(column: Column) -> str:
    """As in the dictionary, without its Markdown."""
    return re.sub(r" \(\*(\w+)\*\)$", r" (\1)", bounds_text(column))


def _recent_rows(facts: TableFacts, today: dt.date) -> list[int]:
    """Rows of each of the last 30 days."""
    assert facts.written is not None
    rows: list[int] = facts.written.rows.tolist()
    after = (today - facts.written.last).days
    padded = [0] * SPARK_DAYS + rows + [0] * max(after, 0)
    end = len(padded) if after >= 0 else len(padded) + after
    return padded[max(end - SPARK_DAYS, 0) : end]


def _spoken(rows: Sequence[int]) -> str:
    days = [value for value in rows if value]
    told = f"rows a day over {len(rows)} days: {min(days):,} to {max(days):,}, last {rows[-1]:,}"
    return f"{told}; {len(days)} days have any"


def _months(facts: TableFacts) -> list[dict[str, Any]]:
    """Newest month first; each with weeks of seven cells, None outside of what is known."""
    if facts.written is None:
        return []
    cells = [
        {"day": day, "state": state, "symbol": SYMBOLS[state], "rows": rows}
        for day, state, rows in zip(facts.written.dates(), facts.states, facts.written.rows.tolist(), strict=True)
    ]
    months = []
    for name, found in groupby(cells, key=lambda cell: cell["day"].strftime("%B %Y")):
        month = list(found)
        padded: list[Any] = [None] * month[0]["day"].weekday() + month
        padded += [None] * (-len(padded) % 7)
        months.append({"name": name, "weeks": [padded[i : i + 7] for i in range(0, len(padded), 7)]})
    return months[::-1]


def _volume(facts: TableFacts) -> dict[str, Any] | None:
    if facts.written is None or not facts.written.rows.any():
        return None
    rows = facts.written.rows.tolist()
    failed = [state == DayState.FAILED for state in facts.states]
    return {
        "chart": bar_chart(rows, failed, _spoken(rows)),
        "most": max(rows),
        "first": facts.written.first,
        "last": facts.written.last,
        "failed": any(failed),
    }


def _problem_json(problem: Problem) -> dict[str, Any]:
    step, heading = first_step(problem)
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
        "runbook": f"docs/runbook.md#{heading}",
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
