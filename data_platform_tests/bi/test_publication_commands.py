"""Publishing from the command line and as assets of Dagster. Not here: what readers find (test_publication)."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.bi.layout import published_tables
from data_platform.bi.server import analytics_url
from data_platform.core.errors import PlatformError
from data_platform.core.orchestration.io_manager import LakeResource
from data_platform.core.settings import settings
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics
from data_platform_tests.support.command_line import Output, Run, assert_one_paragraph
from data_platform_tests.support.homes import Home
from data_platform_tests.support.online_servers import PASSWORD
from data_platform_tests.support.published_lake import Server

JANUARY = dt.date(2026, 1, 31)


@pytest.fixture
def asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Output]]:
    """`data-platform ARGUMENTS...` with the address of a database, or none."""

    def ask(*arguments: str, url: str | None) -> Output:
        if url is not None:
            monkeypatch.setenv("DATA_PLATFORM_ANALYTICS_URL", url)
        settings.cache_clear()
        return run(*arguments)

    yield ask
    monkeypatch.undo()
    settings.cache_clear()


def metrics(home: Home, day: dt.date, revenue: str) -> None:
    values: dict[str, Any] = {"metric_date": day, "currency": "EUR", "conversion": 0.5}
    row = {
        c.name: values.get(c.name, Decimal(revenue) if c.dtype.is_decimal() else 7)
        for c in MvDailyMetrics.columns.values()
    }
    home.lake.replace(MvDailyMetrics, pl.DataFrame([row], schema=MvDailyMetrics.schema()), [day])


def test_the_command_publishes_and_never_tells_the_password(
    home: Home, server: Server, asked: Callable[..., Output]
) -> None:
    metrics(home, JANUARY, "12.34")
    words = [sys.executable, "-m", "data_platform_tests.support.command", "publish", "mv_daily_metrics"]
    environment = home.environment(DATA_PLATFORM_ANALYTICS_URL=server.url)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "mv_daily_metrics" in done.stdout
    assert server.rows("SELECT sum(net_revenue) FROM analytics.metrics_by_month") == [(Decimal("12.34"),)]
    wrong = [server.url.replace(PASSWORD, password) for password in (f"wrong-{PASSWORD}", f"{PASSWORD}@x")]
    wrong += [f"postgresql://x:y@h:{PASSWORD}/d"]
    found = [asked("--debug", "publish", url=url) for url in wrong]
    for one in found:
        assert one.code == 1
        assert "DATA_PLATFORM_ANALYTICS_URL" in one.err
    assert not [said for said in (done.stdout, done.stderr, *(one.out + one.err for one in found)) if PASSWORD in said]


@pytest.mark.parametrize(
    ("arguments", "url", "message"),
    [
        (["publish"], None, "DATA_PLATFORM_ANALYTICS_URL is not set"),
        (["publish", "player_sessions"], "postgresql://x@/d", "player_sessions is not a published table"),
    ],
)
def test_what_is_wrong_is_reported_in_a_paragraph(
    home: Home, asked: Callable[..., Output], arguments: list[str], url: str | None, message: str
) -> None:
    assert_one_paragraph(asked(*arguments, url=url), message)


def test_a_missing_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PLATFORM_ANALYTICS_URL", "postgresql://x@/d")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    settings.cache_clear()
    try:
        with pytest.raises(PlatformError, match=r"needs the package psycopg.*data-platform\[analytics\]"):
            analytics_url(settings())
    finally:
        settings.cache_clear()


def test_published_tables_are_assets_once_there_is_a_database(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.bi import assets, schedules

    assert "DATA_PLATFORM_ANALYTICS_URL" not in os.environ
    assert (assets.assets, hasattr(schedules, "publish_analytics")) == ([], False)
    monkeypatch.setenv("DATA_PLATFORM_ANALYTICS_URL", server.url)
    settings.cache_clear()
    try:
        [step] = importlib.reload(assets).assets
        found = dg.load_definitions_from_module(importlib.reload(schedules))
        assert found.jobs is not None
        assert found.schedules is not None
        (job,), (schedule,) = found.jobs, found.schedules
        dg.Definitions.validate_loadable(
            dg.Definitions([step], [schedule], jobs=[job], resources={"lake": LakeResource()})
        )
        assert (job.name, schedule.cron_schedule) == ("publish_analytics", "30 * * * *")
        assert step.keys == {dg.AssetKey(["analytics", table.table_name()]) for table in published_tables()}
        upstream = step.asset_deps[dg.AssetKey(["analytics", "mv_daily_metrics"])]
        assert upstream == {dg.AssetKey(["commerce", "mv_daily_metrics"])}
        metrics(home, JANUARY, "12.34")
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([step], instance=instance, resources={"lake": LakeResource()})
            metadata = {
                event.asset_key.path[1]: event.materialization.metadata
                for event in result.get_asset_materialization_events()
            }
            assert metadata["mv_daily_metrics"]["dagster/row_count"].value == 1
            assert metadata.keys() == {table.table_name() for table in published_tables()}
            assert PASSWORD not in str(instance.all_logs(result.run_id))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        importlib.reload(assets)
        del schedules.publish_analytics, schedules.publish_analytics_at_half_past
    assert server.rows("SELECT net_revenue FROM analytics.mv_daily_metrics") == [(Decimal("12.34"),)]
