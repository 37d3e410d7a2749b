"""One more day of every model of research late in a year, against the same SQL by DuckDB alone; and dashboards over the
year's marts. Not here: made-up data (research_lake), replay (research)."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench import START, Bench
from benchmarks.commerce import built, by_hand, given_to_duckdb, require_equal, rows_of_a_day
from benchmarks.table import Row
from data_platform.core.lake.store import Lake

DAYS = 364
DAY = str(START + dt.timedelta(DAYS - 1))
"""The last one, a Sunday: also a week's cohort is due. All before it are there."""
INTERACTIONS, PERSONAS = 33_000, 10_000
"""Interactions a day: a million a month."""
GROUP, STEP = "research", "research_models"
MOST_TIMES_DUCKDB, MOST_MILLISECONDS = 1.5, 50
REQUESTS = 100
PAGES = {
    "all dashboards, 30 days": "/dashboards?days=30",
    "all dashboards, a year": "/dashboards?days=365",
    "a year of every project's health": "/dashboards/research/project-health?days=365",
}


def research_marts(bench: Bench) -> Iterator[Row]:
    home, results = made(bench), bench.fresh_folder()
    ours = built(bench, home, GROUP, DAY)
    given = given_to_duckdb(bench, home, results, GROUP, DAY)
    with_tests, models_alone = (by_hand(bench, home, given, tests) for tests in (True, False))
    rows = require_equal(home, results, GROUP, (), DAY)
    size = f"{DAYS} days, {bench.scaled(INTERACTIONS):,} interactions a day, {bench.scaled(PERSONAS):,} personas"
    what = f"one more day of every model of research with its tests, {size}; {rows:,} rows, all equal"
    yield from rows_of_a_day(what, ours, with_tests, models_alone, MOST_TIMES_DUCKDB)
    folder = str(bench.fresh_home() / "lake")
    asked = bench.run("dashboards of research", "research_dashboards", home, requests=REQUESTS, folder=folder).result
    for page, p95 in asked.items():
        told = f"{page}, p95 with another state on top each time"
        yield Row(told, f"{p95:.0f} ms", goal=f"< {MOST_MILLISECONDS} ms", met=p95 < MOST_MILLISECONDS)


def made(bench: Bench) -> Path:
    """A home whose lake holds the year, all models of the days before the last one computed; kept between runs."""
    interactions, personas = bench.scaled(INTERACTIONS), bench.scaled(PERSONAS)
    home = bench.folder / f"research-{interactions}-interactions-{personas}-personas-{DAYS}-days"
    if not (home / "made.json").exists():
        shutil.rmtree(home, ignore_errors=True)
        bench.run("make a studio", "research_lake", home, days=DAYS, interactions=interactions, personas=personas)
        (home / "made.json").write_text(json.dumps({"interactions": interactions, "personas": personas}))
    return home


def make(days: int, interactions: int, personas: int, tell: Callable[[str, int, int], None]) -> None:
    """The year as cleaned, and through Dagster the models of all days but the last."""
    from benchmarks.research_lake import fill
    from data_platform.core.contract.table import contracts
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.definitions import defs
    from data_platform.operations.build import carry_out
    from data_platform.operations.runs import Runs
    from data_platform.operations.staleness import build_step, in_build_order

    dates = [START + dt.timedelta(day) for day in range(days)]
    fill(configured_lake(), dates, interactions, personas, tell)
    by_day = [table for table in contracts().values() if table.kind == "dbt" and table.partition]
    of_research = [table for table in by_day if table.table_group() == GROUP]
    step = build_step({table: [str(day) for day in dates[:-1]] for table in in_build_order(of_research)})
    with open_instance() as instance:
        done = carry_out(Runs(defs, instance), [step] if step else [], tell)
        if done.failures:
            raise SystemExit("\n".join(done.failures))


def ask_dashboards(requests: int, folder: str) -> dict[str, float]:
    """Page → p95 in ms of so many answers; pictures are kept, as their tables stay, the pages around them are not."""
    from starlette.testclient import TestClient

    from data_platform.core.contract.table import contracts
    from data_platform.core.discovery import known_contracts
    from data_platform.observability.health.facts import Collector
    from data_platform.web.app import application

    known_contracts()
    shown = [table for table in contracts().values() if table.kind == "dbt" and table.table_group() == GROUP]
    lake = Lake(folder)
    _until_yesterday(lake)
    collector = Collector(lake, shown, every=3600)
    found = {}
    with TestClient(application(collector, None), base_url="http://127.0.0.1") as client:
        for page, address in PAGES.items():
            assert "tenant-00/project-" in client.get(address).text, "the year is shown"
            seconds = []
            for _ in range(requests):
                collector.refresh()  # another moment stands on top of every page
                begun = time.perf_counter()
                assert client.get(address).status_code == 200
                seconds.append(time.perf_counter() - begun)
            found[page] = 1000 * sorted(seconds)[int(0.95 * requests)]
    return found


def _until_yesterday(lake: Lake) -> None:
    """The year's marts as if it had ended yesterday, or on its last Sunday: dashboards show nothing older."""
    import polars as pl

    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.panels import DASHBOARD

    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(1)
    moved = (yesterday - dt.date.fromisoformat(DAY)).days // 7 * 7
    for table in {panel.table for panel in DASHBOARD.panels}:
        rows = configured_lake().scan(table).with_columns(pl.col(str(table.partition)).dt.offset_by(f"{moved}d"))
        year = rows.collect()
        lake.replace(table, year, sorted(year[str(table.partition)].unique()))
