"""How fresh the tables of a real home are seen to be, how looks are recorded, and what Dagster is told.
Not here: the rule (test_freshness), service levels (test_quality_reports), the command line (test_cli)."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from data_platform.core.contract import table as contract
from data_platform.core.discovery import landing_sources
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.events import PlayerEvents, RawPlayerEvents
from data_platform.observability.contracts import Freshness
from data_platform.observability.freshness import FreshnessVerdict
from data_platform.observability.observations import look_at_tables
from data_platform.operations.staleness import stale_days
from data_platform.sources.landing_source import HEARTBEAT
from data_platform_tests.support.homes import Home, built_tables, event, verdicts


def sent(home: Home, name: str, *moments: dt.datetime) -> None:
    home.drop(
        f"{name}.ndjson",
        [event(event_id=f"{name}-{n}", timestamp=moment.isoformat()) for n, moment in enumerate(moments)],
    )


def look(home: Home, now: dt.datetime) -> dict[str, FreshnessVerdict]:
    with home.used():
        return look_at_tables(home.lake, ThroughDagster(home.instance), landing_sources(), now)


def state_of(looks: Mapping[str, FreshnessVerdict], *tables: type[contract.Table]) -> list[str]:
    return [looks[table.key].state.value for table in tables]


CHAIN: Sequence[type[contract.Table]] = (RawPlayerEvents, PlayerEvents, PlayerChurnFeatures)


def beat(home: Home, moment: dt.datetime) -> None:
    path = home.landing / "player_events" / HEARTBEAT
    path.touch()
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def test_a_backfill_turns_nothing_green(home: Home) -> None:
    now = dt.datetime.now(dt.UTC)
    sent(home, "current", now - dt.timedelta(minutes=1))
    home.build()
    assert state_of(look(home, now), *CHAIN) == ["fresh"] * 3
    later = now + dt.timedelta(hours=30)
    assert state_of(look(home, later), *CHAIN) == ["critical"] * 3
    before = look(home, later)
    sent(home, "old", now - dt.timedelta(days=5))
    home.build()
    assert home.lake.partitions(PlayerEvents)["rows"].sum() == 2, "the old day was written just now"
    assert look(home, later) == before


def test_what_is_received_and_not_computed_is_seen_and_late_events_cause_no_alarm(home: Home) -> None:
    start = dt.datetime.now(dt.UTC)
    sent(home, "current", start - dt.timedelta(minutes=1))
    home.build()
    sent(home, "late", start - dt.timedelta(days=3))
    home.build(["raw"])
    now = dt.datetime.now(dt.UTC)
    assert state_of(look(home, now), *CHAIN) == ["fresh"] * 3, "the late event waits since a moment ago"
    later = now + dt.timedelta(minutes=10)
    beat(home, later)
    looks = look(home, later)
    assert state_of(looks, *CHAIN) == ["fresh", "stale", "fresh"]
    assert "is not computed into clean/player_events" in looks[PlayerEvents.key].reason
    assert state_of(look(home, now + dt.timedelta(hours=4)), PlayerChurnFeatures) == ["stale"]
    home.build()
    assert state_of(look(home, later), *CHAIN) == ["fresh"] * 3


def test_signs_of_life(home: Home) -> None:
    now = dt.datetime.now(dt.UTC)
    sent(home, "current", now - dt.timedelta(hours=2))
    home.build(["clean/player_events"])
    assert state_of(look(home, now), RawPlayerEvents) == ["critical"]
    beat(home, now)
    assert state_of(look(home, now), RawPlayerEvents) == ["fresh"]
    waiting = home.drop("waiting.ndjson", [event()])
    os.utime(waiting, ((now - dt.timedelta(minutes=30)).timestamp(),) * 2)
    assert state_of(look(home, now), RawPlayerEvents) == ["stale"], "what waits in landing is not taken in"
    waiting.unlink()
    (home.landing / "player_events" / HEARTBEAT).unlink()
    assert state_of(look(home, now), RawPlayerEvents) == ["critical"]
    home.drop("nothing.ndjson", "")
    home.ingest()
    now = dt.datetime.now(dt.UTC)
    first = look(home, now)[RawPlayerEvents.key]
    assert first.state == "fresh", "a file without lines is a sign of life"
    assert state_of(look(home, now + dt.timedelta(minutes=6)), RawPlayerEvents) == ["stale"]
    home.drop("nothing-again.ndjson", "")
    home.ingest()
    second = look(home, now)[RawPlayerEvents.key]
    assert first.age is not None
    assert second.age is not None
    assert second.age < first.age, "another empty file, of the same content, is another sign"


# ----------------------------------------------------------------------------------- in Dagster
def run_looks(home: Home) -> dg.ExecuteInProcessResult:
    from data_platform.definitions import defs

    today = dt.datetime.now(dt.UTC).date().isoformat()
    with home.used():
        job = defs.resolve_job_def("look_at_freshness")
        return job.execute_in_process(instance=home.instance, partition_key=today)


def test_looks_are_recorded_as_rows_checks_and_verdicts(home: Home) -> None:
    sent(home, "old", dt.datetime(2024, 1, 3, 10, tzinfo=dt.UTC))
    home.build()
    ledger = home.lake.version(CheckResults) or 0
    runs = [run_looks(home), run_looks(home)]
    assert all(run.success for run in runs)
    promised = {table.key for table in contract.contracts().values() if table.fresh}
    assert dict(home.rows(Freshness).group_by("asset").len().iter_rows()) == dict.fromkeys(promised, 2)
    assert home.lake.version(Freshness) == 2, "one commit per look, after the table's creation"
    assert (home.lake.version(CheckResults) or 0) - ledger == 2
    found = home.rows(CheckResults).filter(pl.col("check_name") == "fresh")
    assert dict(found.group_by("asset").len().iter_rows()) == dict.fromkeys(promised, 2)
    raw = found.filter(pl.col("asset") == RawPlayerEvents.key).sort("recorded_at").row(0, named=True)
    assert (raw["status"], raw["severity"], raw["threshold"]) == ("failed", "error", 3600.0)
    assert raw["value"] > 365 * 86400
    assert raw["reported_as"] == "raw__player_events"
    unbuilt = found.filter(pl.col("asset") == "quality/daily_report")
    assert set(unbuilt["status"]) == {"not_judged"}
    evaluations = verdicts(home.instance, Freshness, "raw__player_events")
    (newest,) = (one for day, one in evaluations.items() if day is not None)
    assert (newest.passed, newest.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert newest.metadata["state"].value == "critical"
    assert {"watermark", "newest_partition", "expected_partition", "reason"} <= newest.metadata.keys()
    for run in runs:
        records = home.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        assert len(records) == len(promised)


def test_looking_changes_nothing_for_other_runs(home: Home) -> None:
    """No step, check or stale day more, whatever was looked at and reported before."""
    from data_platform.definitions import defs

    sent(home, "old", *(dt.datetime(2024, 1, day, 10, tzinfo=dt.UTC) for day in (3, 4, 5)))
    home.build()
    run_looks(home)
    home.build(["quality"], first=dt.date(2024, 1, 4), last=dt.date(2024, 1, 4))
    with home.used():
        assert not any(stale_days(ThroughDagster(home.instance), built_tables()).values())
    defs.get_repository_def().load_all_definitions()  # names of jobs and steps collide only here
    graph = defs.resolve_asset_graph()
    looking = {
        key for key in graph.asset_check_keys if "quality__freshness" in graph.assets_def_for_key(key).node_def.name
    }
    assert {key.asset_key for key in looking} == {dg.AssetKey(["quality", "freshness"])}
    for job in ("daily_tables", "hourly_metrics", "ingest_landing_files", "daily_report"):
        assert "quality__freshness" not in {node.name for node in defs.resolve_job_def(job).graph.nodes}, job
    assert home.build().runs == 0, "nothing waits and nothing is out of date"
