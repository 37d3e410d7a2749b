"""Contracts of what maintenance did: sizes before and after, so that they can be plotted.
Not here: maintaining anything (maintenance)."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.table import Table, column

OWNER = "team:data-platform"


class MaintenanceFields(Table):
    """What all journals of maintenance have in common: one row for each thing that was done."""

    partition = "done_date"
    owner = OWNER
    sorted = False
    journal = True
    profiled = False

    done_date: dt.date = column("UTC day.")
    done_at: dt.datetime = column("When it was done.")
    files_before: int = column("Files before.", unit="files", ge=0)
    files_after: int = column("Files after.", unit="files", ge=0)
    bytes_before: int = column("Their size.", unit="bytes", ge=0)
    bytes_after: int = column("Their size.", unit="bytes", ge=0)
    seconds: float = column("How long it took.", unit="s", ge=0)
    note: str | None = column("Why less was done than was asked for; null where nothing was left.")


class LakeMaintenance(MaintenanceFields):
    """What was done to the tables of the lake: one row per run, table and task."""

    key = "quality/lake_maintenance"
    primary_key = ("done_date", "asset", "task", "done_at")

    asset: str = column("Table, for example `clean/player_events`.", min_length=1)
    task: str = column(
        "`compact` merges small live files; `vacuum` deletes what is live no longer; `checkpoint` sums up the log.",
        isin=("compact", "vacuum", "checkpoint"),
    )


class LandingMaintenance(MaintenanceFields):
    """Files that were taken in and have been put away for long, deleted: one row per run and landing folder."""

    key = "quality/landing_maintenance"
    primary_key = ("done_date", "source", "done_at")

    source: str = column("Landing folder, for example `player_events`.", min_length=1)


class RunMaintenance(MaintenanceFields):
    """Old runs of Dagster, forgotten: one row each time. Files and bytes are those of Dagster's folder."""

    key = "quality/run_maintenance"
    primary_key = ("done_date", "done_at")

    runs_before: int = column("Runs that Dagster remembers, before.", unit="runs", ge=0)
    runs_after: int = column("And after.", unit="runs", ge=0)
    runs_held: int = column(
        "Runs as old that stay: they were the last to write a day of a table, or to try.", unit="runs", ge=0
    )
