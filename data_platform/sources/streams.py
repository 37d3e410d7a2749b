"""The systems that are read, as assets: what the lineage shows before the raw tables, with lag and watermark.
Belongs here: their specs, the step that reads them in a run, the check that they keep up. Not here: reading a system
(its room), doing so without a run (worker)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from data_platform.core.errors import PlatformError
from data_platform.core.faults import in_words
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.steps import StepRun, step_of_events
from data_platform.core.settings import settings
from data_platform.sources.connectors import ExternalTable, Section, StreamState, Ways, sections
from data_platform.sources.landing_source import LandingSource

logger = logging.getLogger(__name__)

READ_SOURCES = "read_sources"
GROUP = "sources"
KEEPS_UP = "keeps_up"
RUN_SECONDS = 300.0
"""A run reads a system for so long at most; the next one goes on."""
TOLERATED = dt.timedelta(minutes=5)
"""A system may be away for so long before its check fails."""


@dataclass(frozen=True)
class Keeping:
    """Whether a table that is read keeps up, and why not."""

    passed: bool
    severity: dg.AssetCheckSeverity
    metadata: dict[str, Any]


def configured_sections() -> list[Section]:
    """Of the file that the setting names. A file that is wrong is logged: it stops the systems that it names, and
    nothing else; `data-platform worker` refuses it."""
    try:
        found = sections(settings().sources)
        for section in found:
            section.external_tables()
    except PlatformError as error:
        logger.error("No system is read: %s", error)
        return []
    return found


def key_of(table: ExternalTable) -> dg.AssetKey:
    return dg.AssetKey(table.key)


def read_into(configured: Sequence[Section]) -> dict[str, list[dg.AssetKey]]:
    """Landing source → what is read into it."""
    found: dict[str, list[dg.AssetKey]] = {}
    for section in configured:
        for table in section.external_tables():
            found.setdefault(table.source, []).append(key_of(table))
    return found


def ways(lake: Lake, sources: Sequence[LandingSource]) -> Ways:
    return Ways(lake, settings().landing, {source.name: source for source in sources})


def reading_assets(configured: Sequence[Section], sources: Sequence[LandingSource]) -> dg.AssetsDefinition | None:
    """One step that reads all systems until nothing more is there: what the worker does, as a run. None without any."""
    external = {section.title: section.external_tables() for section in configured}
    specs = [_spec(table) for tables in external.values() for table in tables]
    if not specs:
        return None
    checks = [
        dg.AssetCheckSpec(
            KEEPS_UP, asset=spec.key, description="It can be read, and what is not read yet is within its bound."
        )
        for spec in specs
    ]

    @step_of_events(*specs, name=READ_SOURCES, checks=checks, can_subset=True)
    def read_sources(run: StepRun) -> Iterator[Any]:
        asked = run.context.selected_asset_keys
        faults: list[Exception] = []
        for section in configured:
            tables = [table for table in external[section.title] if key_of(table) in asked]
            if not tables:
                continue
            streams: Sequence[StreamState] = ()
            problem: str | None = None
            try:
                streams = read_once(section, ways(run.lake, sources))
            except Exception as fault:  # one system stops no other
                run.context.log.exception(f"[{section.title}] could not be read")
                faults.append(fault)
                problem = in_words(fault)
            for materialization in stream_materializations(tables, streams):
                run.context.log_event(materialization)
            for table in tables:
                found = keeping_up(table, streams, problem)
                yield dg.AssetCheckResult(
                    asset_key=key_of(table),
                    check_name=KEEPS_UP,
                    passed=found.passed,
                    severity=found.severity,
                    metadata=found.metadata,
                )
        if faults:  # the next run comes in minutes: this one need not wait for a system to come back
            raise dg.Failure(in_words(faults[0]), allow_retries=False)

    return read_sources


def read_once(section: Section, into: Ways, seconds: float = RUN_SECONDS) -> Sequence[StreamState]:
    """Read a system until nothing more is there, or for so long; where its streams stand then."""
    connector = section.connect(into)
    until = time.monotonic() + seconds
    try:
        while connector.advance(threading.Event()) and time.monotonic() < until:
            pass
        return tuple(connector.states())
    finally:
        connector.close()


def stream_materializations(
    tables: Sequence[ExternalTable], streams: Sequence[StreamState]
) -> Iterator[dg.AssetMaterialization]:
    """Where each table's streams stand: position, lag and watermark."""
    for table in tables:
        if own := table.of(streams):
            yield dg.AssetMaterialization(key_of(table), metadata=_metadata(own))


def keeping_up(table: ExternalTable, streams: Sequence[StreamState], problem: str | None) -> Keeping:
    own = table.of(streams)
    metadata: dict[str, Any] = _metadata(own) | ({"problem": problem} if problem else {})
    if problem:
        return Keeping(False, dg.AssetCheckSeverity.ERROR, metadata)
    lag = sum(one.lag or 0 for one in own)
    late = table.most_lag is not None and lag > table.most_lag
    if alarms := [one.alarm for one in own if one.alarm]:
        metadata["alarm"] = "; ".join(alarms)
    return Keeping(not (late or alarms), dg.AssetCheckSeverity.WARN, metadata)


def keeping_up_evaluation(
    table: ExternalTable, streams: Sequence[StreamState], problem: str | None
) -> dg.AssetCheckEvaluation:
    """The same, outside of any run."""
    found = keeping_up(table, streams, problem)
    return dg.AssetCheckEvaluation(
        asset_key=key_of(table),
        check_name=KEEPS_UP,
        passed=found.passed,
        severity=found.severity,
        metadata=found.metadata,
    )


def _metadata(streams: Sequence[StreamState]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"positions": {one.stream: one.position for one in streams}}
    if lags := [one.lag for one in streams if one.lag is not None]:
        metadata["lag"] = sum(lags)
    if watermarks := [one.watermark for one in streams if one.watermark]:
        metadata["watermark"] = dg.MetadataValue.timestamp(min(watermarks))
    return metadata


def _spec(table: ExternalTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        key_of(table),
        description=table.description,
        group_name=GROUP,
        kinds={table.kind},
        owners=["team:data-platform"],
        skippable=True,
    )
