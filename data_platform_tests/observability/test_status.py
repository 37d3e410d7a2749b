"""A glance at the tables: what `status` and `why` say, that they agree with Dagster, and that they do not import it.
Not here: freshness itself (test_freshness), the other commands (test_cli)."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator

import polars as pl
import pytest

from data_platform.core.contract import lineage
from data_platform.core.contract.table import Severity, contracts
from data_platform.core.instance.materialisations import WHOLE, InSqlite, ThroughDagster
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status, Verdict
from data_platform.core.settings import settings
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEvents
from data_platform_tests.support.command_line import Run, assert_one_paragraph
from data_platform_tests.support.homes import Home, line

OLD = "2024-01-03"
"""A history that ended long ago: it is not late, it is over."""


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without a shop: three days of two players, one line rejected, computed to its end."""
    home = Home(tmp_path_factory.mktemp("status") / "home")
    with home.used():
        days = ["2024-01-01", "2024-01-02", OLD]
        lines = [
            line(event_id=f"{player}-{day}", player_id=player, timestamp=f"{day}T10:00:00Z")
            for day in days
            for player in ("ann", "bob")
        ]
        home.drop("a.ndjson", [*lines, "no json"])
        home.build_on_disk()
    return home


@pytest.fixture
def used(game: Home) -> Iterator[Home]:
    with game.used():
        yield game


def in_a_process(home: Home, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=home.environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


GLANCE = """
import sys
sys.argv = ["data-platform", {words}]
from data_platform.cli import command
try: command()
except SystemExit as end: assert not end.code, end.code
print("dagster" in sys.modules)
"""


@pytest.mark.parametrize(
    "words",
    [
        '"status"',
        '"status", "daily_metrics"',
        '"table", "daily_metrics"',
        '"why", "schema"',
        '"plan"',
        '"plan", "features", "--to", "2024-01-05"',
    ],
)
def test_a_glance_does_not_import_dagster(used: Home, words: str) -> None:
    """Its import alone takes 0.85 s of processor time. The first glance after a change of code keeps the lineage."""
    in_a_process(used, GLANCE.format(words='"status"'))
    assert in_a_process(used, GLANCE.format(words=words)).splitlines()[-1] == "False"


def test_contracts_and_lineage_without_dagster_are_those_with_it(used: Home) -> None:
    code = """
import json
from data_platform.operations.declared import {know}
{know}()
{more}
from data_platform.core.contract import lineage
from data_platform.core.contract.table import contracts
inputs = {{k: [(d.table.key, d.first, d.last) for d in lineage.inputs_of(t)] for k, t in contracts().items()}}
print(json.dumps([inputs, {{k: lineage.computed_with(t).key for k, t in contracts().items()}}]))
"""
    in_a_process(used, GLANCE.format(words='"status"'))
    without = json.loads(in_a_process(used, code.format(know="know_lineage", more="")))
    whole = json.loads(in_a_process(used, code.format(know="know_contracts", more="import data_platform.definitions")))
    assert without == whole
    assert any(whole[0].values())
    assert any(key != other for key, other in whole[1].items())
    assert set(whole[0]) == set(contracts())


def test_steps_without_dagster_are_those_with_it(used: Home) -> None:
    code = """
import sys
{more}
from data_platform.operations.declared import declared_steps
steps = declared_steps()
print([sorted(steps.of_table.items()), sorted(steps.blocking)], "dagster" in sys.modules)
"""
    in_a_process(used, GLANCE.format(words='"status"'))
    without, _, imported = in_a_process(used, code.format(more="")).strip().rpartition(" ")
    whole, _, _ = in_a_process(used, code.format(more="import data_platform.definitions")).strip().rpartition(" ")
    assert imported == "False"
    assert without == whole
    assert "('gameplay/daily_metrics', 'gameplay__daily_metrics')" in whole


def test_the_kept_lineage_is_not_believed_after_a_change_of_code(used: Home) -> None:
    in_a_process(used, GLANCE.format(words='"status"'))
    kept = used.path / "lineage.json"
    said = json.loads(kept.read_text())
    kept.write_text(json.dumps(said | {"code": "other", "inputs": {}}))
    assert in_a_process(used, GLANCE.format(words='"status"')).splitlines()[-1] == "True"
    assert json.loads(kept.read_text()) == said
    kept.write_text("{torn")
    in_a_process(used, GLANCE.format(words='"status"'))
    assert json.loads(kept.read_text()) == said


def test_the_record_in_sqlite_says_what_dagster_says(used: Home) -> None:
    from data_platform.core.instance.dagster_home import open_instance

    directly = InSqlite(settings().dagster_home / "storage" / "history" / "runs" / "index.db")
    with open_instance() as instance:
        by_dagster = ThroughDagster(instance)
        for table in contracts().values():
            newest = by_dagster.newest(table)
            assert directly.newest(table) == newest, table.key
            for partition in [*newest][:2]:
                wanted, found = (asked.first_after(table, partition, 0) for asked in (by_dagster, directly))
                assert abs(wanted - found) < dt.timedelta(milliseconds=1), table.key
    assert directly.newest(PlayerEvents)
    assert set(directly.newest(contracts()["clean/players"])) <= {WHOLE}
    assert InSqlite(used.path / "none" / "[a] #1?.db").newest(RawPlayerEvents) == {}


def test_a_history_that_ended_is_not_late(used: Home, run: Run) -> None:
    shown = run("status").out
    row = next(text for text in shown.splitlines() if text.startswith("clean/player_events "))
    assert f"history ends {OLD}" in row
    assert "critical" not in shown
    found = {one["key"]: one for one in run("status", "--json").json}
    assert (found["clean/player_events"]["freshness"], found["clean/player_events"]["ended"]) == ("critical", OLD)


def test_a_home_without_a_shop_shows_no_commerce(used: Home, run: Run) -> None:
    shown = run("status").out
    assert not [row for row in shown.splitlines() if row.startswith(("commerce/", "raw/stripe", "raw/order"))]
    assert "gameplay/daily_metrics" in shown
    silent = "those of commerce, finance and research because none of their sources ever sent anything"
    assert f"{silent}: data-platform status --all" in shown
    assert "commerce/mv_daily_metrics" in run("status", "--all").out


def test_one_table(used: Home, run: Run) -> None:
    output = run("status", "player_events")
    assert_one_paragraph(output, "names 2 tables", "clean/player_events")
    output = run("status", "raw/player_events")
    words = " ".join(output.out.split())
    for part in (
        RawPlayerEvents.table_description()[:40],
        "6 rows, 3 days, newest 2024-01-03",
        "1 row in raw/player_events_rejected",
        "used by clean/player_events",
        "out of date nothing",
        "run",
    ):
        assert part in words, part
    one = run("status", "clean/player_events", "--json").json
    assert one["upstream"] == ["raw/player_events"]
    assert "gameplay/player_session_days" in one["downstream"]
    assert {check["check"] for check in one["checks"]} >= {"schema"}
    assert lineage.inputs_of(PlayerEvents)


def test_what_is_out_of_date_is_reported_with_its_command(home: Home, run: Run) -> None:
    home.drop("a.ndjson", [line()])
    home.build_on_disk()
    home.drop("b.ndjson", [line(event_id="e-2")])
    run("build", "raw")
    words = " ".join(run("status", "clean/player_events").out.split())
    assert "(1 day): data-platform plan clean/player_events" in words
    one = run("status", "features/player_churn_features", "--json").json
    assert one["status"]["stale"]
    assert one["status"]["ended"] is None, "it is not computed to its end"


BAD = "score_at_most_1000"


def record(home: Home, severity: Severity, day: str, status: Status = Status.FAILED, run_id: str = "r-1") -> None:
    sample = ({"player_id": "ann"},)
    verdict = Verdict(BAD, severity, day, 1, 2, status=status, sample=sample, message="as told")
    verdict_ledger.record(home.lake, PlayerChurnFeatures, [(BAD, verdict)], run_id)


def test_errors_and_warnings_are_told_apart_with_the_command_that_tells_more(home: Home, run: Run) -> None:
    home.drop("a.ndjson", [line()])
    home.build_on_disk()
    record(home, Severity.ERROR, "2024-01-02")
    shown = run("status").out
    assert f"✗ {BAD}" in shown
    assert f"data-platform why {BAD} features/player_churn_features" in shown
    record(home, Severity.WARNING, "2024-01-02", run_id="r-2")
    shown = run("status").out
    assert f"! {BAD}" in shown
    assert "✗" not in shown
    record(home, Severity.WARNING, "2024-01-02", Status.PASSED, run_id="r-3")
    shown = run("status").out
    assert "✗" not in shown
    assert "! " not in shown


def test_why(home: Home, run: Run) -> None:
    home.drop("a.ndjson", [line()])
    home.build_on_disk()
    record(home, Severity.ERROR, "2024-01-02")
    output = run("why", BAD)
    words = " ".join(output.out.split())
    for part in (
        "2024-01-02",
        "1 of 2 rows",
        "as told",
        "player_id",
        "ann",
        "data-platform build",
        f"{dt.date.today()}"[:4],
    ):
        assert part in words, part
    assert [row["asset_partition"] for row in run("why", BAD, "--json").json[0]["failing"]] == ["2024-01-02"]
    assert "It holds" in run("why", "schema", "clean/player_events").out
    assert_one_paragraph(run("why", "schemo"), "no check 'schemo'", "Did you mean schema?")
    assert_one_paragraph(run("why", "schema", "clean/player_event"), "Did you mean clean/player_events")


def test_nothing_of_a_ledger_is_needed(home: Home, run: Run) -> None:
    assert isinstance(home.lake.scan(verdict_ledger.CheckResults), pl.LazyFrame)
    assert run("status", "clean/player_events").code == 0
    assert_one_paragraph(run("why", "schema"), "has judged nothing yet", "data-platform build")
