"""The daily report and the service levels: what they count, how they are built, and that maintenance changes no row.
Not here: freshness itself (test_freshness), the verdict ledger (test_verdict_ledger)."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.core.contract.table import Severity, contracts
from data_platform.core.lake.store import Lake
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.observability.contracts import DailyReport, Freshness, FreshnessState, ServiceLevels
from data_platform.observability.reports import SERVICE_LEVELS, STORAGE_BYTES, DayFacts, daily_report, service_levels
from data_platform.operations.contracts import LakeMaintenance
from data_platform.operations.maintenance import maintain
from data_platform_tests.support.homes import Home, event, line
from data_platform_tests.support.transforms import broken, computed_otherwise

DAY = dt.date(2024, 3, 10)
MOMENT = dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)


# ---------------------------------------------------------------------------- the daily report
def verdict(day: dt.date, asset: str, partition: str, status: str, severity: str, run: str) -> dict[str, Any]:
    return {
        "recorded_date": day, "asset": asset, "asset_partition": partition, "check_name": "rule",
        "reported_as": "contract", "status": status, "severity": severity, "rows": 1, "failed_rows": 0,
        "run_id": run, "contract_version": "1", "recorded_at": MOMENT,
    }  # fmt: skip


days = st.sampled_from([DAY, DAY + dt.timedelta(1), DAY + dt.timedelta(2)])
verdict_rows = st.lists(
    st.builds(
        verdict,
        days,
        st.sampled_from(["a/b", "a/c"]),
        st.sampled_from(["", "2024-01-01", "2024-01-02"]),
        st.sampled_from(list(Status)).map(str),
        st.sampled_from(list(Severity)).map(str),
        st.sampled_from(["r1", "r2"]),
    ),
    max_size=30,
)


def counted(rows: Sequence[dict[str, Any]], **wanted: str) -> int:
    return sum(all(row[name] == value for name, value in wanted.items()) for row in rows)


@given(verdict_rows)
def test_the_report_counts_every_verdict_once(rows: list[dict[str, Any]]) -> None:
    asked = [DAY, DAY + dt.timedelta(1)]
    frame = pl.DataFrame(rows, schema=CheckResults.schema())
    reported = daily_report(frame.lazy(), asked).collect()
    assert dict(reported.schema) == DailyReport.schema()
    assert reported["report_date"].to_list() == asked, "a day without verdicts has a row too"
    for report in reported.iter_rows(named=True):
        of_day = [row for row in rows if row["recorded_date"] == report["report_date"]]
        assert report == {
            "report_date": report["report_date"],
            "rules_run": len(of_day),
            "passed": counted(of_day, status="passed"),
            "failed_error": counted(of_day, status="failed", severity="error"),
            "failed_warning": counted(of_day, status="failed", severity="warning"),
            "failed_info": counted(of_day, status="failed", severity="info"),
            "errored": counted(of_day, status="errored"),
            "not_judged": counted(of_day, status="not_judged"),
            "tables": len({row["asset"] for row in of_day}),
            "partitions": len({(row["asset"], row["asset_partition"]) for row in of_day}),
            "runs": len({row["run_id"] for row in of_day}),
        }


# -------------------------------------------------------------------------------- service levels
def looks(*rows: tuple[str, int, str, float | None]) -> pl.DataFrame:
    """(asset, number of the look, state, age) → quality/freshness."""
    return pl.DataFrame(
        [
            {"recorded_date": DAY, "recorded_at": MOMENT + dt.timedelta(minutes=5 * number), "asset": asset,
             "state": state, "age_seconds": age, "reason": "Because."}
            for asset, number, state, age in rows
        ],
        schema=Freshness.schema(),
    )  # fmt: skip


def sizes(**bytes_by_days_before: int) -> pl.DataFrame:
    """`sizes(d30=100)`: 100 bytes were recorded 30 days before."""
    rows = [
        {"level_date": DAY - dt.timedelta(int(days[1:])), "name": STORAGE_BYTES, "value": float(size),
         "at_least": False, "unit": "B", "description": "Size."}
        for days, size in bytes_by_days_before.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ServiceLevels.schema())


NOTHING = DayFacts(DAY, 0, 0, 0, 0, None)


def levels(
    seen: pl.DataFrame | None = None, recorded: pl.DataFrame | None = None, facts: DayFacts = NOTHING
) -> dict[str, dict[str, Any]]:
    frame = service_levels(
        seen if seen is not None else looks(), recorded if recorded is not None else sizes(), facts, ["f/one", "f/two"]
    )
    assert dict(frame.schema) == ServiceLevels.schema()
    return {row["name"]: row for row in frame.iter_rows(named=True)}


def test_with_nothing_to_measure_no_promise_is_kept_or_broken() -> None:
    found = levels()
    assert list(found) == [level.name for level in SERVICE_LEVELS]
    assert {(row["value"], row["met"]) for row in found.values()} == {(None, None)}
    assert {name: row["goal"] for name, row in found.items()} == {
        "tables_fresh": 0.999, "job_success": 0.9995, "event_to_feature": 900.0, "valid_rows": 0.99,
        "storage_growth": 0.10, STORAGE_BYTES: None,
    }  # fmt: skip


def test_share_of_looks_that_were_fresh() -> None:
    fresh, stale, critical, not_built = FreshnessState
    seen = looks(("a/b", 0, fresh, 1.0), ("a/b", 1, stale, 1.0), ("a/b", 2, critical, 1.0), ("a/c", 0, fresh, None),
                 ("a/d", 0, not_built, None))  # fmt: skip
    found = levels(seen)["tables_fresh"]
    assert (found["value"], found["met"]) == (0.5, False), "what is not built is not counted"
    one_in_a_thousand = looks(*[("a/b", n, stale if n == 0 else fresh, 1.0) for n in range(1000)])
    assert levels(one_in_a_thousand)["tables_fresh"]["met"]


def test_time_from_event_to_feature_is_that_of_the_slowest_feature_table() -> None:
    fresh = FreshnessState.FRESH
    seen = looks(("f/one", 0, fresh, 100.0), ("f/two", 0, fresh, 300.0), ("f/one", 1, fresh, 500.0),
                 ("f/two", 1, fresh, None), ("f/one", 2, fresh, 2000.0), ("g/other", 0, fresh, 9e9))  # fmt: skip
    found = levels(seen)["event_to_feature"]
    assert (found["value"], found["met"]) == (500.0, True)


@pytest.mark.parametrize(
    ("facts", "name", "value", "met"),
    [
        (DayFacts(DAY, 9999, 1, 0, 0, None), "job_success", 0.9999, True),
        (DayFacts(DAY, 999, 1, 0, 0, None), "job_success", 0.999, False),
        (DayFacts(DAY, 0, 0, 1000, 10, None), "valid_rows", 0.99, True),
        (DayFacts(DAY, 0, 0, 1000, 11, None), "valid_rows", 0.989, False),
        (DayFacts(DAY, 0, 0, 1, 5, None), "valid_rows", 0.0, False),
        (DayFacts(DAY, 0, 0, 0, 0, 7), STORAGE_BYTES, 7.0, None),
    ],
)
def test_shares(facts: DayFacts, name: str, value: float, met: bool | None) -> None:
    found = levels(facts=facts)[name]
    assert (found["value"], found["met"]) == (value, met)


@pytest.mark.parametrize(
    ("recorded", "growth"),
    [
        (sizes(d30=100), 0.05),
        (sizes(d31=100, d35=1), 0.05),
        (sizes(d29=100), None),
        (sizes(d36=100), None),
        (sizes(d30=0), None),
        (sizes(d30=70, d1=100), 0.5),
    ],
)
def test_growth_is_measured_against_a_month_before(recorded: pl.DataFrame, growth: float | None) -> None:
    found = levels(recorded=recorded, facts=DayFacts(DAY, 0, 0, 0, 0, 105))["storage_growth"]
    assert found["value"] == (None if growth is None else pytest.approx(growth))
    assert found["met"] == (None if growth is None else growth < 0.1)


# ------------------------------------------------------------------------------- built for real
def test_reports_are_built_by_hand_and_by_the_clock(home: Home) -> None:
    from data_platform.definitions import defs
    from data_platform.observability.schedules import daily_report_after_midnight

    today = dt.datetime.now(dt.UTC).date()
    home.drop("a.ndjson", [line(event_id=f"e-{n}", player_id=f"p-{n}") for n in range(9)] + ["broken"])
    home.build()
    assert not home.lake.exists(DailyReport), "an ordinary build does not report"
    home.build(["quality/daily_report", "quality/service_levels"], first=today, last=today)
    (report,) = home.rows(DailyReport).iter_rows(named=True)
    ledger = home.rows(CheckResults).filter(pl.col("asset_partition") != today.isoformat())
    assert report["report_date"] == today
    assert report["rules_run"] == len(ledger.filter(~pl.col("asset").str.starts_with("quality/")))
    assert report["passed"] > 100
    found = {row["name"]: row for row in home.rows(ServiceLevels).iter_rows(named=True)}
    assert found["valid_rows"]["value"] == 0.9
    assert found["job_success"]["value"] == 1.0
    assert found[STORAGE_BYTES]["value"] > 10_000
    assert found["tables_fresh"]["value"] is None, "nobody has looked"

    with home.used():
        context = dg.build_schedule_context(
            scheduled_execution_time=dt.datetime(2024, 1, 5, 0, 20, tzinfo=dt.UTC),
            repository_def=defs.get_repository_def(),
        )
        request = daily_report_after_midnight.evaluate_tick(context).run_requests[0]  # type: ignore[index]
        assert request.partition_key == "2024-01-04"
        job = defs.resolve_job_def("daily_report")
        assert job.execute_in_process(instance=home.instance, partition_key=request.partition_key).success
    assert home.rows(DailyReport).filter(pl.col("report_date") == dt.date(2024, 1, 4))["rules_run"].to_list() == [0]
    past = home.rows(ServiceLevels).filter(pl.col("level_date") == dt.date(2024, 1, 4), pl.col("name") == STORAGE_BYTES)
    assert past["value"].to_list() == [None], "how big it was long ago is not known"
    assert home.build().runs == 0, "reporting makes nothing stale"


def test_failed_runs_count(home: Home) -> None:
    from data_platform.domains.gameplay.transforms import sessions
    from data_platform.observability.observations import finished_runs

    home.drop("a.ndjson", [line()])
    home.build(["clean/player_events"])
    today = dt.datetime.now(dt.UTC).date()
    succeeded, failed = finished_runs(home.instance, today)
    assert (succeeded, failed) == (2, 0)
    with computed_otherwise(sessions.session_days, broken), pytest.raises(AssertionError):
        home.build(["gameplay/player_session_days"])
    assert finished_runs(home.instance, today) == (2, 1)
    assert finished_runs(home.instance, today - dt.timedelta(1)) == (0, 0)


# ---------------------------------------------------------------------------------- maintenance
def test_maintenance_merges_files_and_changes_no_row(home: Home) -> None:
    from data_platform.definitions import defs

    for number in range(10):
        home.drop(f"{number}.ndjson", [event(event_id=f"e-{number}-{n}") for n in range(3)])
        home.ingest()
    home.build(["clean/player_events"])
    before = {key: home.rows(t).sort(pl.all()) for key, t in contracts().items() if t is not LakeMaintenance}
    files = {key: home.lake.partitions(table)["files"].sum() for key, table in contracts().items()}
    open_reader = home.lake.scan(contracts()["raw/player_events"])

    folder = home.path / "lake" / "raw" / "player_events" / "event_date=2024-01-03"
    old, young = folder / "part-orphan-old.zstd.parquet", folder / "part-orphan-young.zstd.parquet"
    for path, days_old in ((old, 8), (young, 6)):
        path.write_bytes(b"left by a killed writer")
        os.utime(path, (time.time() - days_old * 86400,) * 2)
    with home.used():
        job = defs.resolve_job_def("lake_maintenance")
        assert job.execute_in_process(instance=home.instance, partition_key=str(dt.datetime.now(dt.UTC).date())).success
    after = {key: home.lake.partitions(table)["files"].sum() for key, table in contracts().items()}
    assert after["raw/player_events"] == 1 < files["raw/player_events"]
    assert after["raw/ingestion_ledger"] == 1 < files["raw/ingestion_ledger"]
    assert all(home.rows(contracts()[key]).sort(pl.all()).equals(rows) for key, rows in before.items())
    assert {k: home.lake.partitions(t)["rows"].sum() for k, t in contracts().items() if k in before} == {
        key: len(rows) for key, rows in before.items()
    }, "the log still knows how many rows there are"
    assert (old.exists(), young.exists()) == (False, True), "what a writer may still be about to publish stays"
    assert open_reader.collect().sort(pl.all()).equals(before["raw/player_events"]), "an open reader reads on"
    home.drop("more.ndjson", [event(event_id="more")])
    home.build(["clean/player_events"])
    assert len(home.rows(PlayerEvents)) == 31, "and writers write on"


def test_maintenance_of_nothing(home: Home) -> None:
    assert maintain(Lake(str(home.path / "lake")), dt.timedelta(7)) == {}
