"""Two years of made-up marts, the dashboards over them, and a reader in another process.
Not here: goals (dashboard_pages)."""

from __future__ import annotations

import datetime as dt
import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import uvicorn

from benchmarks.health_server import PAUSE_SECONDS, READER
from benchmarks.made_up import numbered, rows_of
from data_platform.core.contract.table import Table
from data_platform.core.discovery import known_contracts
from data_platform.core.lake.store import Lake
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, DailyMetrics, PlayerRetention
from data_platform.observability.health.facts import Collector
from data_platform.web.app import application
from data_platform.web.dashboards.marts import Marts

LOOK_SECONDS = 5.0
"""Three times as often as by default."""
PAGES = {
    "30 days": "/dashboards?days=30",
    "90 days": "/dashboards?days=90",
    "a year": "/dashboards?days=365",
    "a year's numbers": "/dashboards/players/active-players?days=365",
    "a year's currencies": "/dashboards/shop/revenue-and-refunds?days=365",
}


def measure(
    days: int, players: int, campaigns: int, requests: int, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """p95 of each page in ms, seconds of a first and of a later look at the marts, and what a page made anew costs."""
    known_contracts()
    lake = Lake(settings().lake_root)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(1)
    axis = [yesterday - dt.timedelta(back) for back in range(days)][::-1]
    made = [DailyMetrics, PlayerRetention, CampaignMetrics, MvDailyMetrics, PlayerChurnFeatures]
    for number, table in enumerate(made):
        tell("tables", number, len(made))
        write(lake, table, axis, players, campaigns)
    collector = Collector(lake, made, every=LOOK_SECONDS)
    collector.refresh()
    app = application(collector, None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        arguments = json.dumps(["127.0.0.1", listening.getsockname()[1], requests, PAUSE_SECONDS, list(PAGES.values())])
        reader = subprocess.Popen([sys.executable, "-c", READER, arguments], stdout=subprocess.PIPE, text=True)
        while reader.poll() is None:
            for table in made:  # every look finds each table written again
                write(lake, table, axis[-1:], players, campaigns)
            time.sleep(1)
        assert reader.stdout is not None
        taken = json.loads(reader.stdout.read())
        server.should_exit = True
    return {
        "p95_milliseconds": {
            name: 1000 * sorted(taken[address])[int(0.95 * len(taken[address]))] for name, address in PAGES.items()
        },
        **_looks(lake, axis, players, campaigns),
        **_made_anew(lake, made),
    }


def write(lake: Lake, table: type[Table], days: list[dt.date], players: int, campaigns: int) -> None:
    """Days of one table, a file each."""
    frame = pl.concat([_day(table, day, players, campaigns) for day in days])
    lake.replace(table, frame, days)


def _looks(lake: Lake, axis: list[dt.date], players: int, campaigns: int) -> dict[str, float]:
    from data_platform.core.discovery import dashboards

    marts = Marts(lake, [panel for one in dashboards() for panel in one.panels], LOOK_SECONDS)
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        marts.look()
        seconds.append(time.perf_counter() - begun)
        write(lake, PlayerChurnFeatures, axis[-1:], players, campaigns)
    return {"first_seconds": seconds[0], "look_seconds": seconds[1]}


def _made_anew(lake: Lake, made: list[type[Table]]) -> dict[str, float]:
    """Milliseconds of the year's page when nothing of it is kept: the median of seven."""
    from starlette.testclient import TestClient

    collector = Collector(lake, made, every=3600)
    with TestClient(application(collector, None), base_url="http://127.0.0.1") as client:
        client.get("/dashboards?days=365")
        seconds = []
        for _ in range(7):
            collector.refresh()  # another moment stands on top of every page
            begun = time.perf_counter()
            body = client.get("/dashboards?days=365").content
            seconds.append(time.perf_counter() - begun)
    return {"made_milliseconds": 1000 * sorted(seconds)[3], "kilobytes": len(body) / 1000}


def _day(table: type[Table], day: dt.date, players: int, campaigns: int) -> pl.DataFrame:
    """A growing game that is busier at weekends."""
    random = np.random.default_rng(day.toordinal())
    wave = (1 + 0.25 * (day.weekday() >= 5)) * (1 + 0.1 * math.sin(day.toordinal() / 40)) * random.uniform(0.95, 1.05)
    active = round(players * 0.2 * wave)
    if table is DailyMetrics:
        return rows_of(
            table, metric_date=day, dau=active, wau=active * 2, mau=active * 4, stickiness=0.25 * wave,
            events=active * 60, sessions=round(active * 1.4), avg_session_minutes=35 * wave, new_players=20,
        )  # fmt: skip
    if table is PlayerRetention:
        shares = {"d1_retention": 0.4, "d7_retention": 0.2, "d30_retention": 0.1, "d1_rolling_retention": 0.7}
        return rows_of(table, cohort_date=day, cohort_size=active // 20 + 1, **shares)
    if table is CampaignMetrics:
        events = pl.Series(random.integers(0, 400, campaigns))
        return rows_of(
            table, campaign_id=numbered("campaign-", np.arange(campaigns), 4), metric_date=day, status="active",
            events=events, active_players=events // 20, level_ups=events // 40,
        )  # fmt: skip
    if table is MvDailyMetrics:
        gross = pl.Series([2_000, 1_600, 600, 400, 200]) * wave
        return rows_of(
            table, currency=pl.Series(["EUR", "USD", "GBP", "PLN", "JPY"]), metric_date=day, orders=gross // 20,
            gross_revenue=gross.round(2), returns=(gross * 0.01).round(2), refunds=(gross * 0.05).round(2),
        )  # fmt: skip
    return rows_of(
        table, player_id=numbered("player-", np.arange(players), 6), snapshot_date=day,
        unique_days_active=np.minimum(random.poisson(5, players), 30),
    )  # fmt: skip
