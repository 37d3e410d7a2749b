"""What an ingestion run takes in: the sources that have files waiting, and nothing else.
Not here: what becomes of the lines (test_ingestion), what starts a run (test_automation)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.domains.gameplay.contracts.events import RawPlayerEvents, RawPlayerEventsRejected
from data_platform.domains.gameplay.sources import PLAYER_EVENTS, SOURCES
from data_platform.sources.ingestion import landing_of
from data_platform.sources.ingestion_checks import BALANCE, Finding, judged
from data_platform.sources.landing_files import pending_files
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.unread import unread_files
from data_platform_tests.support.homes import Home, event


def test_a_build_starts_no_ingestion_when_nothing_waits_and_only_that_of_the_source_that_does(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    assert home.build(["raw/player_events"]).runs == 1
    (run,) = home.instance.get_runs()
    planned = home.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert {planning.asset_key for log in planned if (planning := log.dagster_event)} == set(
        map(asset_key, (RawPlayerEvents, RawPlayerEventsRejected, IngestionLedger))
    )
    judged = home.rows(CheckResults).select("asset", "check_name").sort("asset", "check_name").rows()
    assert judged == [
        ("raw/ingestion_ledger", "every_file_is_read"),
        ("raw/ingestion_ledger", "files_are_whole"),
        ("raw/ingestion_ledger", "positions_are_contiguous"),
        ("raw/ingestion_ledger", "received_equals_stored_plus_rejected"),
        ("raw/player_events", "incoming_fields"),
        ("raw/player_events", "rejected_share"),
    ]
    assert home.build(["raw/player_events"]).runs == 0


def test_a_batch_whose_files_are_put_away_and_whose_plan_is_not_is_still_taken_in(home: Home) -> None:
    """What a kill inside `Landing.finish` leaves behind."""
    home.drop("a.ndjson", [event()])
    landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
    with landing.locked():
        plan = next(landing.batches())
    (home.landing / "player_events/_ingested").mkdir()
    (home.landing / "player_events/a.ndjson").rename(
        home.landing / f"player_events/_ingested/00000001-{plan.files[0].digest[:12]}-a.ndjson"
    )
    assert home.build(["raw/player_events"]).runs == 1
    assert len(home.raw()) == 1


def test_one_table_alone_can_be_materialised_from_the_page(home: Home) -> None:
    """Dagster refuses results of checks that were not asked for: the ledger's are not, when its asset is not chosen."""
    from data_platform.definitions import defs

    home.drop("a.ndjson", [event()])
    job = defs.resolve_job_def("ingest_landing_files")
    done = job.execute_in_process(instance=home.instance, asset_selection=[asset_key(RawPlayerEvents)])
    assert done.success
    assert len(home.raw()) == 1
    assert len(home.ledger()) == 1
    assert {evaluation.asset_key for evaluation in done.get_asset_check_evaluations()} == {asset_key(RawPlayerEvents)}


def test_what_was_ingested_is_never_walked_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor looks every ten seconds, and a year of files lies in `_ingested`."""
    home.drop("a.ndjson", [event()])
    home.drop("deeper/b.ndjson", [event(event_id="b")])
    home.drop("_uploading/c.ndjson", [event(event_id="c")])
    home.ingest()
    entered: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: entered.append(str(path)) or scan(path))
    home.drop("d.ndjson", [event(event_id="d")])
    assert [path.name for path in pending_files(home.landing / "player_events")] == ["d.ndjson"]
    assert unread_files(home.landing, SOURCES) == []
    assert any(path.endswith("deeper") for path in entered)
    assert not any(part.startswith("_") for path in entered for part in Path(path).relative_to(home.landing).parts)
    assert len(home.raw()) == 2


def test_the_balance_leaves_out_what_a_domain_received_that_is_installed_no_more(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    home.drop("b.ndjson", ["no player"], folder="players")
    assert home.ingest()
    (balance,) = balances(home, SOURCES)
    assert (balance.passed, balance.metadata.get("sources_not_installed")) == (True, None)
    (balance,) = balances(home, [PLAYER_EVENTS])
    assert (balance.passed, balance.metadata["sources_not_installed"]) == (True, ["players"])


def balances(home: Home, sources: Sequence[LandingSource]) -> list[Finding]:
    with home.used():
        return [found for found in judged(home.lake, (), sources, 0, "run") if found.verdict.rule == BALANCE]
