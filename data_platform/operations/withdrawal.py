"""Files that were taken in, listed, and taken out again as a Dagster run in this process.
Belongs here: naming files and batches. Not here: which rows go (sources/withdrawal)."""

from __future__ import annotations

import dagster as dg
import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.lake.store import Lake
from data_platform.operations.rejected import ATTEMPTS, CARRY_OUT_PLANS
from data_platform.operations.runs import Built, Runs
from data_platform.sources.ingestion import tables_of
from data_platform.sources.landing import Landing
from data_platform.sources.withdrawal import plan_withdrawal

STARTED_BY = "data-platform withdraw"
LISTED = ("source", "batch", "source_file", "received_at", "received_lines", "stored_lines", "rejected_lines")


def received_files(lake: Lake) -> pl.DataFrame:
    """Every file of the ledger, newest first."""
    return (
        lake.scan(IngestionLedger)
        .sort("received_at", "source", "source_file", descending=[True, False, False])
        .collect()
    )


def files_named(lake: Lake, name: str) -> pl.DataFrame:
    """Rows of the ledger for `FILE`, `SOURCE/FILE` or `SOURCE/BATCH`. Raises PlatformError for none, and for a name
    that several files have: nothing is taken out by mistake."""
    files = received_files(lake)
    of_source = pl.concat_str("source", pl.lit("/"), pl.col("batch").cast(pl.String)) == name
    batch = files.filter(of_source)
    if len(batch):
        return batch
    full = pl.concat_str("source", pl.lit("/"), "source_file")
    found = files.filter((pl.col("source_file") == name) | (full == name))
    if found.is_empty():
        raise PlatformError(
            f"No file or batch called {name!r} was taken in.",
            f"{_meant(files, name)}`data-platform withdraw` lists what was: SOURCE/BATCH, file.",
        )
    standing = found.filter(pl.col("withdrawn_lines").is_null())
    if len(standing) > 1:
        batches = ", ".join(f"{source}/{number}" for source, number in standing.select("source", "batch").iter_rows())
        raise PlatformError(
            f"{len(standing)} files called {name!r} were taken in, in {batches}.", "Name one of these batches instead."
        )
    return standing if len(standing) else found.head(1)


def _meant(files: pl.DataFrame, name: str) -> str:
    named = files.select("source_file", full=pl.concat_str("source", pl.lit("/"), "source_file"))
    return did_you_mean(name, [*named["full"], *named["source_file"]])


def withdraw(defs: dg.Definitions, instance: dg.DagsterInstance, landing: Landing, entries: pl.DataFrame) -> Built:
    """Take these files of one source out again. Planned under the folder's lock, carried out by a run of the ingestion
    job, which records the touched days: exactly what depends on them is out of date then."""
    runs = Runs(defs, instance, STARTED_BY)
    for _ in range(ATTEMPTS):
        with landing.locked():
            planned = landing.unfinished() is None
            if planned:
                plan_withdrawal(landing, entries)
        runs.ingest(tables_of([landing.source]), CARRY_OUT_PLANS)
        if planned or runs.built.failures:
            return runs.built
    raise PlatformError(
        f"Another process keeps ingesting {landing.source.name}.", "Wait until it is done, then run again."
    )
