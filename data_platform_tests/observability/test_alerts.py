"""What is wrong is found, told once and told to be over: real ledger, real Dagster runs, a real HTTP server.
Not here: the rules of episodes (test_alert_episodes), routes and commands (test_alert_delivery)."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from data_platform.core.contract.table import Severity, Table
from data_platform.core.instance.past_runs import run_records, runs_of_ids
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.definitions import defs
from data_platform.domains.gameplay.contracts.activity import DailyMetrics, PlayerEngagementMetrics
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.domains.gameplay.contracts.registry import RawPlayerChanges
from data_platform.observability.alerts.problems import Level, gone_workers, stopped_systems
from data_platform.observability.contracts import Freshness, ServiceLevels
from data_platform.sources.worker_state import SectionState, gone_since, living
from data_platform_tests.support.homes import line
from data_platform_tests.support.watching import (
    HOUR,
    MINUTE,
    Inbox,
    Watch,
    failing,
    judge,
    verdict,
)


# ------------------------------------------------------------------------------------------------ storm
@dg.op
def refused() -> None:
    """Stands for the step that is retried."""


@dg.job
def retried() -> None:
    refused()


@pytest.mark.parametrize("judged", [True, False], ids=["failed checks", "failed runs alone"])
def test_a_thousand_retries_of_a_broken_asset_are_one_alert_and_one_recovery(
    watched: Watch, inbox: Inbox, judged: bool
) -> None:
    """1,000 failed runs, each with a failed verdict in the ledger or without any; looked at 25 times."""
    for _ in range(25):
        failed = [watched.instance.create_run_for_job(retried) for _ in range(40)]
        if judged:
            rows = pl.DataFrame([_ledger_row(one.run_id) for one in failed], schema=CheckResults.schema())
            watched.home.lake.append(CheckResults, rows)
        for one in failed:
            watched.instance.report_run_failed(one)
        watched.now = max(dt.datetime.now(dt.UTC), watched.now)
        watched.look(MINUTE / 2)
    assert watched.home.rows(CheckResults).height == 1000 * judged
    assert watched.instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 1000
    title = "gameplay/player_engagement_metrics: score_at_least_0 failed" if judged else "retried: run failed"
    assert inbox.titles == [f"[critical] {title}"]
    if judged:
        judge(watched, verdict(), run_id="fixed")
    assert retried.execute_in_process(instance=watched.instance).success
    watched.look()
    watched.look(HOUR)
    assert inbox.titles[1:] == [f"[ok] recovered: {title}"]
    assert "it was seen in 25 looks" in inbox.posts[1]["message"]


def _ledger_row(run_id: str) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    return {
        "recorded_date": now.date(),
        "asset": PlayerEngagementMetrics.key,
        "asset_partition": "2026-03-01",
        "check_name": "score_at_least_0",
        "reported_as": "contract",
        "status": "failed",
        "severity": "error",
        "rows": 50,
        "failed_rows": 12,
        "run_id": run_id,
        "contract_version": PlayerEngagementMetrics.version(),
        "recorded_at": now,
    }


# ------------------------------------------------------------------------------------------------- runs
class Broken(RuntimeError):
    pass


def _step(table: type[Table], broken: bool) -> Callable[[], None]:
    def compute() -> None:
        if broken:
            raise Broken("the text quotes nobody@example.com")

    compute.__name__ = table.key.replace("/", "__")
    return compute


def runs_of(watched: Watch, faults: Sequence[str], *tables: type[Table]) -> None:
    """A real run of assets with the tables' keys, each after the one before it; those in `faults` raise."""
    assets = [
        dg.asset(
            _step(table, table.key in faults), key=table.key.split("/"), deps=[before.key.split("/")] if before else []
        )
        for before, table in zip([None, *tables], tables, strict=False)
    ]
    done = dg.materialize(assets, instance=watched.instance, raise_on_error=False)
    assert done.success == (not faults)
    watched.now = dt.datetime.now(dt.UTC)


def test_a_failed_run_is_reported_and_a_success_of_its_step_ends_it(watched: Watch, inbox: Inbox) -> None:
    runs_of(watched, [DailyMetrics.key], PlayerEvents, DailyMetrics)
    watched.look()
    runs_of(watched, [DailyMetrics.key], DailyMetrics)
    watched.look()
    assert inbox.titles == ["[critical] gameplay/daily_metrics: run failed"]
    message = inbox.posts[0]["message"]
    assert "(Broken)" in message
    assert "nobody@example.com" not in message
    assert "Link: http://127.0.0.1:3000/assets/gameplay/daily_metrics" in message
    assert f"Owner: {DailyMetrics.owner}" in message
    assert "First step: Open the run in Dagster" in message
    runs_of(watched, [], PlayerEvents)
    watched.look()
    assert len(inbox.posts) == 1, "another table's success ends nothing"
    runs_of(watched, [], DailyMetrics)
    watched.look()
    assert inbox.titles[1:] == ["[ok] recovered: gameplay/daily_metrics: run failed"]


def test_a_step_that_was_never_reached_is_neither_broken_nor_mended(watched: Watch) -> None:
    runs_of(watched, [DailyMetrics.key], PlayerEvents, DailyMetrics)
    runs_of(watched, [PlayerEvents.key], PlayerEvents, DailyMetrics)
    assert set(watched.problems()) == {"run_failed:gameplay/daily_metrics", "run_failed:clean/player_events"}
    runs_of(watched, [], PlayerEvents, DailyMetrics)
    assert watched.problems() == {}


def test_a_failed_step_is_reported_however_many_later_runs_never_reached_it(watched: Watch) -> None:
    runs_of(watched, [DailyMetrics.key], PlayerEvents, DailyMetrics)
    for _ in range(51):
        runs_of(watched, [PlayerEvents.key], PlayerEvents, DailyMetrics)
    assert set(watched.problems()) == {"run_failed:gameplay/daily_metrics", "run_failed:clean/player_events"}


def test_runs_are_asked_for_in_pages_each_once(watched: Watch) -> None:
    made = [watched.instance.create_run_for_job(retried).run_id for _ in range(7)]
    for page in (1, 3, 7, 8):
        found = [record.dagster_run.run_id for record in run_records(watched.instance, dg.RunsFilter(), page)]
        assert found == made[::-1]
        left = runs_of_ids(watched.instance, set(made[2:]), [dg.DagsterRunStatus.NOT_STARTED], page)
        assert {one.run_id for one in left} == set(made[2:])


def test_a_run_that_was_canceled_or_died_before_its_first_step(watched: Watch, inbox: Inbox) -> None:
    job = defs.resolve_job_def("daily_tables")
    watched.instance.report_run_canceled(watched.instance.create_run_for_job(job))
    watched.look()
    assert inbox.titles == ["[critical] daily_tables: run was canceled"]
    assert "/runs/" in inbox.posts[0]["message"]


# ----------------------------------------------------------------------------------------------- checks
def test_an_alert_carries_what_since_owner_rows_link_and_first_step(watched: Watch, inbox: Inbox) -> None:
    odd = tuple({"player_id": f"p-{n}\x1b[31m\u202e<!channel> @everyone" + "x" * 500} for n in range(5))
    judge(watched, failing(), failing("sessions_at_most_10000", severity=Severity.WARNING, sample=odd))
    judge(watched, failing(day="2026-03-02"), run_id="s")
    watched.look()
    assert sorted(post["type"] for post in inbox.posts) == ["failure", "warning"]
    bad, odd_one = sorted((post["message"] for post in inbox.posts), key=lambda text: "10000" in text)
    assert "What: score_at_least_0 fails on 2026-03-02, 2026-03-01 for 24 of 100 rows." in bad
    assert "Since: 2026-" in bad
    assert f"Owner: {PlayerEngagementMetrics.owner}" in bad
    assert "Failing rows: 24, for example player_id=p-0; player_id=p-1; player_id=p-2\n" in bad
    assert "Link: http://127.0.0.1:3000/assets/gameplay/player_engagement_metrics" in bad
    assert "First step: Find the rows by their keys in the asset's inputs. docs/runbook.md#alert-a-check-failed" in bad
    assert not set("\x1b\u202e<>@") & set(odd_one)
    assert max(map(len, odd_one.splitlines())) < 400


def test_levels_of_verdicts(watched: Watch) -> None:
    judge(
        watched,
        failing("blocks"),
        failing("warns", severity=Severity.WARNING),
        failing("notes", severity=Severity.INFO),
        failing("volume_anomaly", value=3.0, threshold=4.0),
        failing("crashed", status=Status.ERRORED, message="ValueError: secret text"),
        verdict("passed"),
        failing("young", status=Status.NOT_JUDGED),
        failing("fresh"),
    )
    found = {key.split(":")[2]: problem for key, problem in watched.problems().items()}
    assert {rule: problem.level for rule, problem in found.items()} == {
        "blocks": Level.CRITICAL, "warns": Level.WARNING, "volume_anomaly": Level.WARNING, "crashed": Level.CRITICAL,
    }  # fmt: skip
    assert found["crashed"].title == "gameplay/player_engagement_metrics: crashed crashed"
    assert "says nothing of the data" in found["crashed"].what
    assert "secret text" not in found["crashed"].what
    assert "Measured 3. Bound 4." in found["volume_anomaly"].what


def test_a_blocked_day_stays_a_problem_and_an_old_warning_does_not(watched: Watch) -> None:
    judge(watched, failing("blocks", "2026-03-01"), failing("warns", "2026-03-01", severity=Severity.WARNING))
    for day in ("2026-03-02", "2026-03-03"):
        judge(watched, verdict("blocks", day), verdict("warns", day, severity=Severity.WARNING), run_id=day)
    assert [key.split(":")[2] for key in watched.problems()] == ["blocks"]


def test_a_blocked_day_is_seen_for_as_long_as_it_lasts(watched: Watch, inbox: Inbox) -> None:
    judge(watched, failing())
    watched.look()
    for _ in range(20):
        watched.look(24 * HOUR)
    assert {title.split("]")[0] for title in inbox.titles} == {"[critical"}
    assert len(inbox.posts) == 21, "one alert, and a reminder a day"
    judge(watched, verdict())
    watched.look()
    assert "[ok]" in inbox.titles[-1]


def test_since_when_is_the_first_failure_after_the_last_pass(watched: Watch) -> None:
    for number, one in enumerate((failing(), verdict(), failing(), failing())):
        judge(watched, one, run_id=f"{number}")
    recorded = watched.home.rows(CheckResults).sort("recorded_at")["recorded_at"]
    (problem,) = watched.problems().values()
    assert (problem.since, problem.run_id) == (recorded[2], "3")


def test_a_rule_that_the_contract_dropped_is_no_problem(watched: Watch) -> None:
    old = _ledger_row("r") | {"contract_version": "before"}
    rows = pl.DataFrame([old, old | {"check_name": "dropped"}], schema=CheckResults.schema())
    watched.home.lake.append(CheckResults, rows)
    assert len(watched.problems()) == 2
    judge(watched, failing())
    assert list(watched.problems()) == ["check:gameplay/player_engagement_metrics:score_at_least_0"]


def test_what_identifies_a_person_by_itself_is_not_reported(watched: Watch) -> None:
    key = {"player_id": "p-1", "email": "a@example.com", "username": "Ann", "comment": "free text", "changes": 3}
    judge(watched, failing(sample=(key, {"email": "a@example.com"})), table=RawPlayerChanges)
    (problem,) = watched.problems().values()
    assert problem.sample == ("player_id=p-1, changes=3", "(not shown)")


def test_what_cannot_be_read_is_reported_and_ends_nothing(watched: Watch, inbox: Inbox) -> None:
    judge(watched, failing())
    watched.look()
    ledger = Path(watched.home.lake.uri(CheckResults))
    ledger.rename(ledger.with_name("away"))
    (ledger / "_delta_log").mkdir(parents=True)
    # At its end it would be a commit that a power cut tore, and be put aside.
    (ledger / "_delta_log" / f"{0:020}.json").write_text("nonsense")
    shutil.copy(ledger.with_name("away") / "_delta_log" / f"{1:020}.json", ledger / "_delta_log")
    watched.look()
    assert inbox.titles[1:] == ["[warning] alerts cannot see check"]
    shutil.rmtree(ledger)
    ledger.with_name("away").rename(ledger)
    watched.look()
    assert inbox.titles[2:] == ["[ok] recovered: alerts cannot see check"]


# ------------------------------------------------------------------- freshness, backlog, storage growth
def record_freshness(watched: Watch, ages: Mapping[str, tuple[str, dt.timedelta]]) -> None:
    rows = [
        {
            "recorded_date": watched.now.date(),
            "recorded_at": watched.now,
            "asset": key,
            "state": state,
            "age_seconds": age.total_seconds(),
            "reason": "The newest event is old.",
        }
        for key, (state, age) in ages.items()
    ]
    frame = pl.DataFrame(rows, schema=Freshness.schema())
    watched.home.lake.append(Freshness, frame)


def test_old_data_is_reported_once_at_its_source(watched: Watch, inbox: Inbox) -> None:
    raw, clean = "raw/player_events", "clean/player_events"
    record_freshness(watched, {raw: ("fresh", MINUTE), clean: ("fresh", MINUTE)})
    watched.look()
    record_freshness(watched, {raw: ("stale", 20 * MINUTE), clean: ("stale", 20 * MINUTE)})
    watched.look()
    record_freshness(watched, {raw: ("stale", 3 * HOUR), clean: ("critical", 3 * HOUR)})
    watched.look()
    assert inbox.titles == [f"[warning] {raw}: data is late", f"[critical] worse: {raw}: data is too old"]
    record_freshness(watched, {raw: ("fresh", MINUTE), clean: ("stale", 3 * HOUR)})
    watched.look()
    record_freshness(watched, {raw: ("fresh", MINUTE), clean: ("fresh", MINUTE)})
    watched.look()
    assert inbox.titles[2:] == [f"[ok] recovered: {raw}: data is too old"]
    watched.look(2 * HOUR)
    assert inbox.titles[3:] == ["[warning] freshness is not watched"]


def test_files_that_wait(watched: Watch, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    file = watched.home.drop("events.ndjson", [line()])
    os.utime(file, (0, 0))
    watched.look(14 * MINUTE)
    assert inbox.posts == [], "a copied file's own time says nothing"
    watched.look(2 * MINUTE)
    watched.look(3 * HOUR)
    file.unlink()
    watched.look()
    waits = "player_events: 1 files wait in landing"
    assert inbox.titles == [f"[warning] {waits}", f"[critical] worse: {waits}", f"[ok] recovered: {waits}"]
    monkeypatch.setattr("data_platform.observability.alerts.problems.BACKLOG_FILES", 3)
    watched.home.drop("1.ndjson", [line()])
    watched.now = dt.datetime.now(dt.UTC)
    assert watched.problems() == {}
    for number in range(2, 5):
        watched.home.drop(f"{number}.ndjson", [line()])
    assert "backlog:player_events" in watched.problems()


def test_storage_growth(watched: Watch) -> None:
    for days_ago, value, met in ((1, 0.02, True), (0, 0.4, False)):
        day = watched.now.date() - dt.timedelta(days_ago)
        row = {
            "level_date": day, "name": "storage_growth", "value": value, "goal": 0.1, "at_least": False, "met": met,
            "unit": "share", "description": "Growth in 30 days.",
        }  # fmt: skip
        watched.home.lake.replace(ServiceLevels, pl.DataFrame([row], schema=ServiceLevels.schema()), [day])
    assert "It is 40.0%, the goal is at most 10%." in watched.problems()["storage_growth"].what


# ------------------------------------------------------------------------------------------ systems that are read
def test_a_system_that_is_away_for_longer_than_tolerated_is_a_problem() -> None:
    now = dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC)

    def section(title: str, minutes: int) -> SectionState:
        return SectionState(title, "nobody answers", now - dt.timedelta(minutes=minutes))

    states = {one.title: one for one in (section("kafka.a", 4), section("kafka.b", 6), SectionState("kafka.c"))}
    (problem,) = stopped_systems(states, now)
    assert (problem.key, problem.level) == ("system:kafka.b", Level.CRITICAL)
    assert "for 6 min: nobody answers" in problem.what


def test_a_worker_that_was_killed_is_told_of_until_another_one_starts(watched: Watch) -> None:
    folder = watched.home.path / "worker"
    code = (
        "import os, sys; from pathlib import Path; from data_platform.sources.worker_state import *\n"
        "with living(Path(sys.argv[1])) as file:\n"
        "    file.write(WorkerState(now()))\n"
        "    if sys.argv[2:]: os.kill(os.getpid(), 9)\n"
    )
    killed = f"worker:{socket.gethostname()}"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert gone_since(folder) is None, "it ended as it was asked to"
    assert subprocess.run([sys.executable, "-c", code, str(folder), "killed"], check=False).returncode == -9
    since = gone_since(folder)
    assert since is not None
    assert gone_workers(since, since + dt.timedelta(minutes=5)) == []
    watched.now = since + dt.timedelta(minutes=6)
    assert watched.problems()[killed].what.startswith("It was killed 6 min ago")
    with living(folder):
        assert killed not in watched.problems()
    assert killed not in watched.problems()
