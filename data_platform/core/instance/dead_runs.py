"""Runs whose process is gone, closed: Dagster's launcher notices only while the server that started them lives, and not
at all for runs of the command line. Open, they hold a place in the queue and look like work under way for ever.
Not here: what starts a run again (Dagster's sensors and retries)."""

from __future__ import annotations

import os
import socket
import time

import dagster as dg
import psutil

HOST_TAG = "data_platform/host"
"""Where a run of the command line goes on; runs of the launcher are on the machine of the daemon."""
PROCESS_TAG = "data_platform/process"
"""Which process there it is from the first moment on: what is killed before it begins says nothing else."""
UNDER_WAY = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
SILENT_SECONDS = 120
"""A run says its process id within seconds; one that has not by then never will."""
CLOCK_SECONDS = 5
"""A process that began so long after it was named is another one that was given the number."""


def host_tags() -> dict[str, str]:
    """Tags of a run in this process. Nobody starts it again when it dies: its person knows, and runs it again."""
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: str(os.getpid()), "dagster/max_retries": "0"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report the runs as failed whose process on this machine is gone; their ids."""
    closed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY)):
        run = record.dagster_run
        if _is_here(instance, run) and _is_dead(instance, record):
            instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine restarted.")
            closed.append(run.run_id)
    return closed


def _is_here(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    host = run.tags.get(HOST_TAG)
    if host is not None:
        return host == socket.gethostname()
    return run.remote_job_origin is not None and type(instance.run_launcher).__name__ == "DefaultRunLauncher"


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    named = _process_of(instance, record)
    if named is None:
        return record.start_time is not None and time.time() - record.start_time > SILENT_SECONDS
    pid, at = named
    try:
        process = psutil.Process(pid)
        return bool(process.status() == psutil.STATUS_ZOMBIE or process.create_time() > at + CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return True


def _process_of(instance: dg.DagsterInstance, record: dg.RunRecord) -> tuple[int, float] | None:
    """Which process, and when that was said: by the newest event that names one, else by the run's tag when it was
    made. A run may have waited in the queue for long before its process began."""
    run = record.dagster_run
    for entry in reversed(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        metadata = getattr(entry.dagster_event and entry.dagster_event.event_specific_data, "metadata", {})
        if "pid" in metadata:
            return int(str(metadata["pid"].value)), entry.timestamp
    made = record.start_time or record.create_timestamp.timestamp()
    return (int(run.tags[PROCESS_TAG]), made) if PROCESS_TAG in run.tags else None
