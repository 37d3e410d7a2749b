"""What ledger and Dagster are told of a publication: materialisations, verdicts, refusals.
Belongs here: the order in which they are told, the words of a refusal. Not here: publishing, when it is due (steps)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

# Dagster has no public way for a step to say of each partition by itself whether it wrote it.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.table import Table
from data_platform.core.faults import in_words
from data_platform.core.lake import bitemporal
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import (
    asset_key,
    log_verdicts,
    record_in_ledger,
    record_verdicts,
    stored_together,
)
from data_platform.core.orchestration.chosen_days import days_to_compute, run_slices, tells_itself
from data_platform.core.orchestration.publication import Publication
from data_platform.core.quality.rejudging import Tests, judge_again
from data_platform.core.quality.validation import WHOLE_TABLE
from data_platform.core.settings import settings


def report(context: dg.AssetExecutionContext, publication: Publication, lake: Lake) -> Iterator[Any]:
    """Tell the ledger every verdict, then Dagster what was published: materialisations with their numbers and verdicts,
    one of each per partition. The ledger comes first: what dies in between is computed and judged again.

    Raises dg.Failure when a day broke an error rule or could not be computed: that day was not published and is not
    recorded as materialised.
    """
    table = publication.table
    context.log.info(publication.in_words())
    record_in_ledger(context, lake, table, publication.verdicts)
    _report_corrections(context, table, lake)
    refused = publication.verdicts.blocked() or publication.failed
    asked = {str(day) for day in days_to_compute(context, table)} if table.partition else set()
    incomplete = table.partition is not None and publication.rows.keys() < asked
    if refused or incomplete or publication.unchanged or tells_itself(context):
        with stored_together(context.instance):
            for partition in publication.rows:
                context.log_event(_told_of(publication, partition))
    if refused or incomplete:
        log_verdicts(context, table, publication.verdicts)
        if refused:
            raise dg.Failure(_refusal(publication), allow_retries=False)
        return  # days are missing because of a table that is computed beside this one, which tells why
    if publication.unchanged:
        yield _nothing_more_to_tell(context, table)
    elif tells_itself(context):
        yield dg.MaterializeResult(asset_key=asset_key(table))  # for what comes after; Dagster records nothing of it
    elif table.partition is None:
        yield dg.MaterializeResult(asset_key=asset_key(table), metadata=publication.metadata(WHOLE_TABLE))
    else:
        for partition in publication.rows:
            context.add_asset_metadata(
                publication.metadata(partition), asset_key=asset_key(table), partition_key=partition
            )
        yield dg.MaterializeResult(asset_key=asset_key(table))
    yield from record_verdicts(context, table, publication.verdicts)


def _told_of(publication: Publication, partition: str) -> dg.AssetMaterialization | dg.AssetObservation:
    """That it was written or, where its rows are what they were, that it was looked at: nothing follows from that."""
    told = dg.AssetObservation if partition in publication.unchanged else dg.AssetMaterialization
    metadata = publication.metadata(partition)
    return told(asset_key(publication.table), partition=partition or None, metadata=metadata)


def _nothing_more_to_tell(context: dg.AssetExecutionContext, table: type[Table]) -> dg.Output[None]:
    """The step's output for what comes after it. Dagster would take every partition of the run for written; it records
    nothing of an output that says it has told for itself."""
    names = {key: name for name, key in context.assets_def.keys_by_output_name.items()}
    return dg.Output(None, names[asset_key(table)], metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def report_again(
    context: dg.AssetExecutionContext, table: type[Table], lake: Lake, tests: Tests | None = None
) -> Iterator[dg.AssetCheckResult]:
    """Judge the table as it stands, and tell ledger and Dagster; the body of a run of checks alone."""
    slices = run_slices(context, table, {"rows": table.days()}, lake, settings().slice_rows)
    verdicts = judge_again(lake, table, slices, tests)
    record_in_ledger(context, lake, table, verdicts)
    yield from record_verdicts(context, table, verdicts)


def _report_corrections(context: dg.AssetExecutionContext, table: type[Table], lake: Lake) -> None:
    """The journal of a table with history has no run of its own: what it got today is reported by whoever publishes."""
    if not table.bitemporal:
        return
    journal, today = bitemporal.history_of(table), today_utc().isoformat()
    rows = lake.rows(journal).get(today, 0)
    if rows:
        metadata = {"dagster/partition_row_count": rows}
        context.log_event(dg.AssetMaterialization(asset_key(journal), partition=today, metadata=metadata))


def _refusal(publication: Publication) -> str:
    sentences = []
    if blocked := publication.verdicts.blocked():
        failures = [v for v in publication.verdicts.failures if v.partition in blocked][:5]
        rules = "; ".join(
            f"{v.partition or 'table'}: {v.rule} {v.status} for {v.failed_rows} of {v.rows} rows"
            + (f", e.g. {_keys_in_words(v.sample[:2])}" if v.sample else "")
            for v in failures
        )
        sentences.append(
            f"{_counted(blocked)} not published, for breaking the contract ({rules}). Fix the rows upstream or the "
            f"contract, then run again; `data-platform status {publication.table.key}` says more."
        )
    if failed := publication.failed:
        errors = "; ".join(f"{day}: {in_words(error)}" for day, error in [*failed.items()][:5])
        sentences.append(f"{_counted(failed)} not computed ({errors}).")
    others = " The other days of the run are published." if publication.rows else ""
    return f"{publication.table.key}: {' '.join(sentences)}{others}"


def _counted(partitions: Collection[str]) -> str:
    """How many days are told of; a table without days is told of as a whole."""
    if WHOLE_TABLE in partitions:
        return "the table is"
    return "1 day is" if len(partitions) == 1 else f"{len(partitions)} days are"


def _keys_in_words(keys: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(", ".join(f"{name} {value}" for name, value in key.items()) for key in keys)
