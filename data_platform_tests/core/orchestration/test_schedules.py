"""What runs by the clock, in which zone, and over which day.
Not here: what the automation requests when data changes (test_automation)."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from data_platform.definitions import defs
from data_platform.domains.gameplay.schedules import hourly_metrics_on_the_hour
from data_platform.observability.schedules import freshness_every_five_minutes
from data_platform.operations.schedules import daily_tables_at_two
from data_platform_tests.support.homes import Home, event


def _requested_day(schedule: dg.ScheduleDefinition, at: dt.datetime) -> tuple[str | None, str | None]:
    ticked = schedule.evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    )
    assert ticked.run_requests is not None
    (request,) = ticked.run_requests
    return request.partition_key, request.run_key


def test_at_two_yesterday_is_computed(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    home.ingest()
    at = dt.datetime(2024, 3, 1, 2, tzinfo=dt.UTC)
    assert daily_tables_at_two.cron_schedule == "0 2 * * *"
    assert daily_tables_at_two.execution_timezone == "UTC"
    assert _requested_day(daily_tables_at_two, at)[0] == "2024-02-29"


def test_at_two_a_game_without_a_shop_gets_no_day_of_zeros_in_the_shop(home: Home) -> None:
    def asked() -> set[str] | None:
        at = dt.datetime(2024, 3, 1, 2, tzinfo=dt.UTC)
        context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
        requests = daily_tables_at_two.evaluate_tick(context).run_requests
        return {"/".join(key.path) for key in requests[0].asset_selection or ()} if requests else None

    assert asked() is None, "nothing was ever received"
    home.drop("a.ndjson", [event()])
    home.ingest()
    game = asked()
    assert game is not None
    assert {"clean/player_events", "features/player_churn_features"} <= game
    assert not {"commerce/fct_orders", "commerce/fct_payments", "features/player_commerce_features"} & game
    home.drop("users.ndjson", ["{}"], folder="orders")
    home.ingest()
    assert {"commerce/fct_orders", *game} <= (asked() or set())


def test_every_hour_today_is_computed() -> None:
    late = dt.datetime(2024, 3, 1, 23, tzinfo=dt.UTC)
    assert hourly_metrics_on_the_hour.cron_schedule == "0 * * * *"
    assert _requested_day(hourly_metrics_on_the_hour, late)[0] == "2024-03-01"
    keys = {_requested_day(hourly_metrics_on_the_hour, late - dt.timedelta(hours=n))[1] for n in range(24)}
    assert len(keys) == 24, "a run key that repeats would swallow an hour"


def test_a_schedule_in_another_zone_of_the_machine_asks_for_the_utc_day(home: Home) -> None:
    """01:30 in a zone behind UTC is still the evening before there."""
    home.drop("a.ndjson", [event()])
    home.ingest()
    behind = dt.datetime(2024, 3, 1, 2, tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=-8)))
    assert _requested_day(daily_tables_at_two, behind)[0] == "2024-02-29"


def test_freshness_is_looked_at_every_five_minutes_of_its_day() -> None:
    assert freshness_every_five_minutes.cron_schedule == "*/5 * * * *"
    ticks = [dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=5 * n) for n in range(288)]
    asked = [_requested_day(freshness_every_five_minutes, tick) for tick in ticks]
    assert {day for day, _ in asked} == {"2024-03-01"}
    assert len({key for _, key in asked}) == 288, "a run key that repeats would swallow a look"


def test_schedules_and_sensors_are_on_without_a_click() -> None:
    repository = defs.get_repository_def()
    assert {s.name: s.default_status for s in repository.schedule_defs} == {
        "daily_tables_at_two": dg.DefaultScheduleStatus.RUNNING,
        "hourly_metrics_on_the_hour": dg.DefaultScheduleStatus.RUNNING,
        "freshness_every_five_minutes": dg.DefaultScheduleStatus.RUNNING,
        "daily_report_after_midnight": dg.DefaultScheduleStatus.RUNNING,
        "lake_maintenance_at_three": dg.DefaultScheduleStatus.RUNNING,
        "landing_maintenance_on_sunday": dg.DefaultScheduleStatus.RUNNING,
        "run_maintenance_on_sunday": dg.DefaultScheduleStatus.RUNNING,
        "scrub_lake_on_sunday": dg.DefaultScheduleStatus.RUNNING,
        "served_features_every_quarter": dg.DefaultScheduleStatus.RUNNING,
        "feature_drift_after_two": dg.DefaultScheduleStatus.RUNNING,
        "churn_model_on_the_sixteenth": dg.DefaultScheduleStatus.RUNNING,
        "alert_summary_at_eight": dg.DefaultScheduleStatus.RUNNING,
    }
    assert {s.name: s.default_status for s in repository.sensor_defs} == {
        "landing_files": dg.DefaultSensorStatus.RUNNING,
        "automation": dg.DefaultSensorStatus.RUNNING,
        "alerts": dg.DefaultSensorStatus.RUNNING,
    }


def test_scheduled_jobs_cover_what_they_promise() -> None:
    graph = defs.resolve_asset_graph()
    computed = {
        k for k in graph.get_all_asset_keys() if graph.get(k).automation_condition and graph.get(k).is_partitioned
    }
    computed.remove(dg.AssetKey(["quality", "serving_skew"]))  # follows what was served, whatever the hour
    assert set(defs.resolve_job_def("daily_tables").asset_layer.executable_asset_keys) == computed
    hourly = {"/".join(k.path) for k in defs.resolve_job_def("hourly_metrics").asset_layer.executable_asset_keys}
    assert hourly == {"gameplay/player_engagement_metrics", "gameplay/campaign_metrics"}
