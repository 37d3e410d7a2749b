"""What a build begins before it loads the code location, which takes as long as dbt takes to start.
Belongs here: whether SQL models will be due. Not here: which days of them are (staleness), dbt (warehouse/starting)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from data_platform.core.contract.received import sources_of_domain
from data_platform.core.discovery import landing_sources
from data_platform.core.importing import importing
from data_platform.core.lake.store import configured_lake
from data_platform.core.quality.connected import connected
from data_platform.core.settings import settings
from data_platform.operations.declared import know_lineage
from data_platform.operations.selection import select_tables
from data_platform.sources.ingestion import tables_to_ingest


def sql_will_be_due(selection: Sequence[str], asked_for_days: bool) -> bool:
    """Whether a build of these tables will have SQL models to compute, as far as that shows without Dagster: there are
    some in domains that received anything, and days are asked for or files wait in landing.

    Raises PlatformError for an unknown table."""
    know_lineage()
    models = {table for table in select_tables(selection) if table.kind == "dbt"}
    arriving = set(tables_to_ingest(landing_sources(), settings().landing)) if models else set()
    if not models or not (asked_for_days or arriving):
        return False
    return bool(connected(configured_lake(), models)) or any(arriving & {*sources_of_domain(one)} for one in models)


@contextlib.contextmanager
def dbt_meanwhile(selection: Sequence[str], asked_for_days: bool) -> Iterator[None]:
    """Inside the context dbt starts beside whatever is done, where it will be wanted."""
    if not sql_will_be_due(selection, asked_for_days):
        yield
        return
    with importing():
        from data_platform.warehouse.starting import dbt_ahead

    with dbt_ahead():
        yield
