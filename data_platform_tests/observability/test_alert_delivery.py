"""Who gets an alert and how: routes, channels that are down, secrets, the daily summary, the sensor, the commands.
Not here: what is an alert (test_alerts, test_alert_episodes)."""

from __future__ import annotations

import datetime as dt
import logging

import dagster as dg
import pytest

from data_platform.core.contract.table import Severity, contract
from data_platform.core.discovery import landing_sources
from data_platform.core.errors import PlatformError
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.core.settings import PROJECT_ROOT, settings
from data_platform.definitions import defs
from data_platform.domains.gameplay.contracts.events import PlayerEvents
from data_platform.observability.alerts.delivery import masked, read_routes
from data_platform.observability.alerts.messages import plain
from data_platform.observability.alerts.problems import FIRST_STEPS, Findings, look
from data_platform.observability.alerts.sensor import summarise, watch
from data_platform_tests.cli.test_docs import anchors
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.homes import Home, line
from data_platform_tests.support.watching import (
    HOUR,
    MINUTE,
    SECRET,
    Inbox,
    Watch,
    failing,
    judge,
    route,
    routes_file,
    verdict,
)


# ----------------------------------------------------------------------------------- routes and channels
def test_routes_by_owner_and_level_and_the_log_without_any(home: Home, inbox: Inbox) -> None:
    def at(path: str) -> str:
        return f"json://127.0.0.1:{inbox.port}/{path}"

    file = routes_file(
        home,
        route(at("all"), "info", name="all"),
        route(at("critical"), "critical", name="critical"),
        route(at("other"), owner="team:research", name="other"),
        route(at("game"), owner="team:game*", name="game"),
    )
    watched = Watch(home, file)
    judge(watched, failing("warns", severity=Severity.WARNING))
    watched.look()
    assert sorted(inbox.paths) == ["/all", "/game"]
    inbox.paths.clear()
    judge(watched, failing("blocks"))
    watched.look()
    assert sorted(inbox.paths) == ["/all", "/critical", "/game"]
    assert inbox.titles.count("[critical] gameplay/player_engagement_metrics: blocks failed") == 3
    inbox.posts.clear()
    watched.routes = None
    judge(watched, failing("more"))
    watched.look()
    assert inbox.posts == []
    assert "more failed\nWhat: more fails on 2026-03-01 for 12 of 50 rows." in watched.logged[-1]


def test_a_channel_that_is_down_hears_everything_later_in_order_and_once(
    watched: Watch, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    inbox.status = 503
    judge(watched, failing())
    for _ in range(5):
        watched.look()
    judge(watched, verdict(), run_id="fixed")
    watched.look()
    assert inbox.posts == []
    assert list(watched.store.waiting().values()) == [2]
    assert any("did not take" in text for text in watched.logged)
    inbox.status = 200
    watched.look(30 * MINUTE)
    assert [title.split("]")[0] for title in inbox.titles] == ["[critical", "[ok"]
    watched.look(HOUR)
    assert len(inbox.posts) == 2
    assert not any(part in "".join(watched.logged) + caplog.text for part in SECRET.split("/"))


def test_mutes_end_by_themselves(watched: Watch, inbox: Inbox) -> None:
    watched.store.mute("check:gameplay/*", watched.now + 2 * HOUR)
    judge(watched, failing(), failing("solved"))
    watched.look()
    watched.look(HOUR)
    judge(watched, verdict("solved"))
    watched.look()
    assert inbox.posts == []
    watched.look(HOUR)
    watched.look()
    assert inbox.titles == ["[critical] gameplay/player_engagement_metrics: score_at_least_0 failed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[route]]\nname = 'ops'\nurls = ['nonsense://%s']", "'ops'"),
        ("[[route]]\nurls = ['%s']", "'route 1'"),
        ("[[route]]\nname = 'ops'\nurls = []", "'ops'"),
        ("[[route]]\nname = 'ops'\nurls = '%s'", "'ops'"),
        ("[[route]]\nname = 'ops'\nurl = 'json://%s'", "'ops'"),
        ("[[route]]\nname = 'ops'\nurls = ['json://h']\nat_least = '%s'", "'ops'"),
        ("[route]\nurls = ['json://%s']", "[[route]]"),
        ("urls = ['json://%s", "TOML"),
    ],
)
def test_a_wrong_route_is_named_without_its_secret(
    home: Home, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = routes_file(home, text.replace("%s", SECRET))
    with pytest.raises(PlatformError) as error:
        read_routes(file)
    assert message in str(error.value)
    assert not any(part in str(error.value) + caplog.text for part in SECRET.split("/"))


def test_masks_and_plain_text() -> None:
    assert masked("slack://TokenA/TokenB") == "slack://***"
    assert masked(SECRET) == "***"
    assert plain("a\n b\x00\u200b c", 5) == "a b�…"


def test_every_first_step_is_in_the_runbook() -> None:
    assert {anchor for _, anchor in FIRST_STEPS.values()} <= anchors(PROJECT_ROOT / "docs" / "runbook.md")


# ---------------------------------------------------------------------------------------------- summary
def test_the_daily_summary_is_said_once_a_day(watched: Watch, inbox: Inbox, home: Home) -> None:
    watched.routes = routes_file(home, route(inbox.url, "info"))
    judge(watched, failing(), verdict("good"), failing("warns", severity=Severity.WARNING))
    home.drop("events.ndjson", [line(), "no json"])
    home.ingest()
    watched.look()
    inbox.posts.clear()
    tomorrow = dt.datetime.combine(dt.datetime.now(dt.UTC).date() + dt.timedelta(1), dt.time(8), dt.UTC)
    for _ in range(2):
        summarise(home.lake, watched.store, read_routes(watched.routes), tomorrow, watched.logged.append)
    assert len(inbox.posts) == 1
    message = inbox.posts[0]["message"]
    assert "3 run, 1 passed, failed: 1 error, 1 warning, 0 info, 0 crashed" in message
    assert "player_events 2 lines = 1 stored + 1 rejected" in message
    assert "Open: 2" in message
    assert "- [critical] gameplay/player_engagement_metrics: score_at_least_0 failed" in message


def test_the_nightly_run_is_reported_as_completed_to_those_who_ask(watched: Watch, inbox: Inbox, home: Home) -> None:
    @dg.job
    def nightly() -> None:
        pass

    def tick() -> list[str]:
        arguments = (
            home.lake,
            watched.instance,
            landing_sources(),
            watched.store,
            read_routes(watched.routes),
            watched.now,
        )
        return [message.title for message in watch(*arguments, watched.logged.append, ["nightly"])]

    for tags in ({}, {"dagster/schedule_name": "at_two"}):
        assert nightly.execute_in_process(instance=watched.instance, tags=tags).success
    assert tick() == []
    watched.routes = routes_file(home, route(inbox.url, "info"))
    assert (tick(), tick()) == (["[info] nightly completed"], [])
    assert inbox.titles == ["[info] nightly completed"]


# -------------------------------------------------------------------------------- Dagster, command line
def test_the_sensor_and_the_schedule_of_the_code_location(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = defs.resolve_sensor_def("alerts")
    verdict_ledger.record(home.lake, PlayerEvents, [("contract", failing())], "r")
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance, definitions=defs) as context:
        result = sensor(context)
        assert result.skip_message == "1 problems are open, 1 messages are new"
        assert sensor(context).skip_message == "1 problems are open, 0 messages are new"
        assert defs.resolve_job_def("daily_alert_summary").execute_in_process(instance=instance).success
    schedule = defs.resolve_schedule_def("alert_summary_at_eight")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 8 * * *", "UTC")


def test_commands(watched: Watch, inbox: Inbox, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PLATFORM_ALERTS", str(watched.routes))
    settings.cache_clear()
    assert "Nothing is open" in run("alerts", "list").out
    judge(watched, failing())
    inbox.status = 500
    watched.look()
    outputs = [run("alerts", "list"), run("alerts", "list", "--json"), run("alerts", "test")]
    assert "check:gameplay/player_engagement_metrics:score_at_least_0" in outputs[0].out
    assert "1 message waits for on call (json://***)" in outputs[0].out
    (episode,) = outputs[1].json["episodes"]
    assert (episode["level"], episode["failed_rows"], episode["muted"]) == ("critical", 12, False)
    assert_one_paragraph(outputs[2], "1 of 1 channel did not take the message: on call (json://***)")
    inbox.status = 200
    outputs.append(run("alerts", "test"))
    assert "✓ on call: json://***" in outputs[3].out
    assert inbox.titles == ["[test] data platform alerts"]
    assert run("alerts", "mute", "check:*", "--for", "2h").code == 0
    assert run("alerts", "list", "--json").json["episodes"][0]["muted"] is True
    assert run("alerts", "unmute", "check:*").code == 0
    assert_one_paragraph(run("alerts", "unmute", "check:*"), "Nothing is muted by 'check:*'")
    assert_one_paragraph(run("alerts", "mute", "check:*", "--for", "soon"), "30m, 2h or 3d")
    monkeypatch.setenv("DATA_PLATFORM_ALERTS", str(routes_file(watched.home, route(f"nonsense://{SECRET}"))))
    settings.cache_clear()
    outputs.append(run("--debug", "alerts", "test"))
    assert outputs[4].code == 1
    for output in outputs:
        assert not any(part in output.out + output.err for part in SECRET.split("/"))


def test_watching_a_home_where_nothing_was_ever_done(home: Home) -> None:
    assert look(home.lake, dg.DagsterInstance.ephemeral(), landing_sources(), dt.datetime.now(dt.UTC)) == Findings(())
    assert contract("quality/check_results") is CheckResults
