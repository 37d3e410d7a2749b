"""What runs by the clock whatever the domain: tables of yesterday at 02:00 UTC, maintenance of the lake at 03:00, that
of landing and of runs, and checksums, on Sunday. Imported after every asset: it selects among what they declare.
Not here: what any of it does."""

from __future__ import annotations

from data_platform.core.contract.lineage import computed_with, inputs_of
from data_platform.core.contract.table import Table, contracts
from data_platform.core.lake.store import configured_lake
from data_platform.core.orchestration.schedules import TODAY, YESTERDAY, by_the_clock, job_of
from data_platform.operations.contracts import LakeMaintenance, LandingMaintenance, RunMaintenance
from data_platform.operations.scrubbing import scrub_lake
from data_platform.operations.staleness import ever_fed


def _computed_of_days() -> list[type[Table]]:
    """What is computed of a day; what arrives from outside is not, nor reports, which are made of journals."""
    daily = [table for table in contracts().values() if table.partition]
    return [t for t in daily if any(not needed.table.journal for needed in inputs_of(computed_with(t)))]


def _fed() -> set[type[Table]]:
    """Without those that nothing was ever received for: a game without a shop gets no day of zeros each night."""
    return ever_fed(configured_lake(), _computed_of_days())


daily_tables = job_of(
    "daily_tables",
    "All tables of one day. Catches what automation could not see: days on which nothing arrived.",
    *_computed_of_days(),
)

lake_maintenance = job_of(
    "lake_maintenance", "Small files of all tables merged, unneeded ones deleted, logs summed up.", LakeMaintenance
)
landing_maintenance = job_of(
    "landing_maintenance", "Files deleted from landing that were taken in long ago.", LandingMaintenance
)
run_maintenance = job_of("run_maintenance", "Dagster's runs of long ago forgotten.", RunMaintenance)

daily_tables_at_two = by_the_clock(
    "daily_tables_at_two",
    daily_tables,
    "0 2 * * *",
    "02:00 UTC: every table of yesterday.",
    run_key=lambda moment: f"daily-{YESTERDAY(moment)}",
    partition=YESTERDAY,
    only=_fed,
)
lake_maintenance_at_three = by_the_clock(
    "lake_maintenance_at_three",
    lake_maintenance,
    "0 3 * * *",
    "03:00 UTC: small files merged, unneeded ones deleted, logs summed up.",
    run_key=lambda moment: f"lake-maintenance-{TODAY(moment)}",
    partition=TODAY,
)
landing_maintenance_on_sunday = by_the_clock(
    "landing_maintenance_on_sunday",
    landing_maintenance,
    "0 4 * * 0",
    "Sunday, 04:00 UTC: files deleted that were taken in long ago.",
    run_key=lambda moment: f"landing-maintenance-{TODAY(moment)}",
    partition=TODAY,
)
run_maintenance_on_sunday = by_the_clock(
    "run_maintenance_on_sunday",
    run_maintenance,
    "30 4 * * 0",
    "Sunday, 04:30 UTC: runs of long ago forgotten.",
    run_key=lambda moment: f"run-maintenance-{TODAY(moment)}",
    partition=TODAY,
)
scrub_lake_on_sunday = by_the_clock(
    "scrub_lake_on_sunday",
    scrub_lake,
    "0 5 * * 0",
    "Sunday, 05:00 UTC: every file of the lake compared with its checksum.",
    run_key=lambda moment: f"scrub-{TODAY(moment)}",
)
