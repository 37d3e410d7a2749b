"""Runs whose process was killed are closed, and neither they nor anything else that Dagster believes keeps the next
ingestion from starting. Not here: what a kill leaves in the lake (test_kill)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import dagster as dg
import psutil
import pytest
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.test_utils import create_run_for_test

from data_platform.core.instance.dead_runs import (
    CLOCK_SECONDS,
    HOST_TAG,
    PROCESS_TAG,
    SILENT_SECONDS,
    close_dead_runs,
    host_tags,
)
from data_platform.domains.gameplay.sources import PLAYER_EVENTS
from data_platform.sources.ingestion import landing_of
from data_platform_tests.support.homes import Home, event

JOB = "ingest_landing_files"
INSTEAD = {
    "elsewhere": {HOST_TAG: "another-machine"},
    "of a launcher that is not ours": {},
}


@pytest.fixture
def gone() -> int:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def started(instance: dg.DagsterInstance, pid: int | None, tags: dict[str, str] | None = None) -> str:
    """A run that began and said its process; nothing more is heard of it."""
    run = create_run_for_test(instance, job_name=JOB, tags=host_tags() if tags is None else tags)
    instance.report_dagster_event(DagsterEvent(event_type_value="PIPELINE_START", job_name=JOB), run_id=run.run_id)
    if pid is not None:
        instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(pid))
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_process_is_gone_is_closed_and_others_are_not(home: Home, gone: int) -> None:
    dead = started(home.instance, gone)
    alive = started(home.instance, os.getpid())
    silent = started(home.instance, None)
    other = [started(home.instance, gone, tags) for tags in INSTEAD.values()]
    assert psutil.Process().create_time() < time.time()
    assert close_dead_runs(home.instance) == [dead]
    assert status(home.instance, dead) == dg.DagsterRunStatus.FAILURE
    for run_id in (alive, silent, *other):
        assert status(home.instance, run_id) == dg.DagsterRunStatus.STARTED
    assert close_dead_runs(home.instance) == []


def test_a_run_that_was_killed_before_it_began_is_closed(home: Home, gone: int) -> None:
    runs = {"dead": str(gone), "alive": str(os.getpid())}
    made = {
        name: create_run_for_test(home.instance, job_name=JOB, tags=host_tags() | {PROCESS_TAG: pid})
        for name, pid in runs.items()
    }
    queued_by_dagster = create_run_for_test(home.instance, job_name=JOB)
    assert close_dead_runs(home.instance) == [made["dead"].run_id]
    assert status(home.instance, made["alive"].run_id) == dg.DagsterRunStatus.NOT_STARTED
    assert status(home.instance, queued_by_dagster.run_id) == dg.DagsterRunStatus.NOT_STARTED


def test_a_run_that_never_said_its_process_is_closed_after_a_while(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = started(home.instance, None, {HOST_TAG: socket.gethostname()})
    later = time.time() + SILENT_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert close_dead_runs(home.instance) == [silent]


def test_a_number_given_to_another_process_is_not_taken_for_the_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    reused = started(home.instance, os.getpid())
    monkeypatch.setattr(psutil.Process, "create_time", lambda _self: time.time() + 60)
    assert close_dead_runs(home.instance) == [reused]


def test_a_run_that_waited_in_the_queue_is_not_taken_for_dead(home: Home) -> None:
    """Its process begins long after it was made: with runs queued, each was closed while it began."""
    run = create_run_for_test(home.instance, job_name=JOB, tags={HOST_TAG: socket.gethostname()})
    time.sleep(CLOCK_SECONDS + 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        home.instance.report_engine_event(
            "Launching", run, EngineEventData({"pid": dg.MetadataValue.text(str(process.pid))})
        )
        found = close_dead_runs(home.instance)
        process.kill()
    assert found == []


def tick(home: Home) -> dg.SensorResult | dg.SkipReason:
    from data_platform.definitions import defs

    sensor = defs.resolve_sensor_def("landing_files") if hasattr(defs, "resolve_sensor_def") else _sensor(defs)
    with dg.build_sensor_context(instance=home.instance, definitions=defs) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def _sensor(defs: dg.Definitions) -> dg.SensorDefinition:
    return defs.get_sensor_def("landing_files")


def key_of(result: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(result, dg.SensorResult), result
    (request,) = result.run_requests or ()
    return str(request.run_key)


def test_after_twenty_kills_the_sensor_starts_the_next_ingestion_at_once(home: Home, gone: int) -> None:
    home.drop("a.ndjson", [event()])
    keys = [key_of(tick(home))]
    for _ in range(20):
        started(home.instance, gone)
        keys.append(key_of(tick(home)))
    assert len(set(keys)) == 21, "a key that was used starts nothing"
    under_way = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.QUEUED]
    assert home.instance.get_runs_count(dg.RunsFilter(statuses=under_way)) == 0, "no place in the queue is taken"
    assert key_of(tick(home)) == keys[-1], "and nothing new happened since"


def test_the_sensor_waits_for_who_holds_the_folder_and_for_a_run_that_begins(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
    with landing.locked():
        assert isinstance(tick(home), dg.SkipReason)
    assert isinstance(tick(home), dg.SensorResult)
    started(home.instance, os.getpid())
    assert isinstance(tick(home), dg.SkipReason)


def test_an_interrupted_batch_is_completed_though_no_file_waits(home: Home) -> None:
    home.drop("a.ndjson", [event()])
    landing = landing_of(PLAYER_EVENTS, home.lake, home.landing)
    with landing.locked():
        for plan in landing.batches():
            landing.commit(plan)
            (landing.folder / "a.ndjson").rename(home.path / "a.ndjson")
            break
    assert isinstance(tick(home), dg.SensorResult)
