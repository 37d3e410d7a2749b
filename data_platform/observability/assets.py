"""How what is known of quality hangs together: looks at freshness, the daily report, service levels, their lineage.
Not here: what any of it means (freshness, reports), where it is collected (observations)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.discovery import known_contracts, landing_sources
from data_platform.core.instance.materialisations import ThroughDagster
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import SEVERITIES, asset_key
from data_platform.core.orchestration.partitions import daily
from data_platform.core.orchestration.publication import DELTA_VERSION
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.orchestration.steps import StepRun, step, step_of_events
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.profile_store import Profiles
from data_platform.core.quality.validation import WHOLE_TABLE, Status, Verdict
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.observability import observations, reports
from data_platform.observability.contracts import FRESH_RULE, DailyReport, Freshness, FreshnessState, ServiceLevels
from data_platform.observability.freshness import FreshnessVerdict, looks_frame
from data_platform.sources.landing_source import LandingSource

FEATURES = "features"
"""The group of tables that events must reach in time."""

# Written by the steps that judge and measure, never by a run of their own.
check_results, profiles = spec_for(CheckResults), spec_for(Profiles)


def check_name(table: type[Table]) -> str:
    """The check of quality/freshness that shows a table. On the tables themselves it would ride along in every run that
    writes them, and be left open for every day of a range."""
    return table.key.replace("/", "__")


def freshness_asset(sources: Sequence[LandingSource]) -> dg.AssetsDefinition:
    """One look at every table with a freshness promise: a row, an asset check and a verdict each."""
    promised = [table for table in known_contracts().values() if table.fresh]

    checks = [
        dg.AssetCheckSpec(
            check_name(table),
            asset=asset_key(Freshness),
            description=f"{table.key} is fresh, by event time and the newest expected day.",
            partitions_def=daily(),
        )
        for table in promised
    ]

    @step_of_events(spec_for(Freshness), checks=checks)
    def look_at_freshness(run: StepRun) -> Iterator[Any]:
        now = dt.datetime.now(dt.UTC)
        looks = observations.look_at_tables(run.lake, ThroughDagster(run.context.instance), sources, now)
        commit = run.lake.append(Freshness, looks_frame(looks, now))
        verdicts = [(table, check_name(table), _verdict(looks[table.key])) for table in promised]
        repeated = run.context.retry_number > 0
        verdict_ledger.record_tables(run.lake, verdicts, run.context.run.run_id, repeated=repeated)
        states = Counter(look.state.value for look in looks.values())
        yield dg.MaterializeResult(
            asset_key=asset_key(Freshness), metadata={**states, DELTA_VERSION: str(commit.version)}
        )
        for table, _, verdict in verdicts:
            yield _result(table, looks[table.key], verdict)

    return look_at_freshness


STATUS: Mapping[FreshnessState, Status] = {
    FreshnessState.FRESH: Status.PASSED,
    FreshnessState.NOT_BUILT: Status.NOT_JUDGED,
}
"""Of a look in the verdict ledger; the others have failed."""


def _verdict(look: FreshnessVerdict) -> Verdict:
    """`value` is the age and `threshold` the bound, in seconds."""
    return Verdict(
        FRESH_RULE,
        Severity.ERROR if look.state == FreshnessState.CRITICAL else Severity.WARNING,
        WHOLE_TABLE,
        0,
        0,
        status=STATUS.get(look.state, Status.FAILED),
        value=look.age.total_seconds() if look.age is not None else None,
        threshold=look.bound.total_seconds() if look.bound is not None else None,
        message=look.reason,
    )


def _result(table: type[Table], look: FreshnessVerdict, verdict: Verdict) -> dg.AssetCheckResult:
    facts = {
        "state": look.state.value,
        "reason": look.reason,
        "watermark": look.watermark,
        "newest_partition": look.newest,
        "expected_partition": look.expected,
        "age_seconds": verdict.value,
        "bound_seconds": verdict.threshold,
    }
    return dg.AssetCheckResult(
        asset_key=asset_key(Freshness),
        check_name=check_name(table),
        passed=verdict.status != Status.FAILED,
        severity=SEVERITIES[verdict.severity],
        metadata={name: _plain(value) for name, value in facts.items() if value is not None},
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value


@step(spec_for(DailyReport, {"results": CheckResults}))
def daily_report(run: StepRun) -> None:
    """What the checks said on each day of the run."""
    days = run.days()
    reported = reports.daily_report(run.lake.scan(CheckResults, days[0], days[-1]), days).collect()
    run.publish(DailyReport, [reported], days)


def _levels_spec() -> dg.AssetSpec:
    """The ledger is part of the lineage but no input to wait for: its day is written with every file that is received,
    and the levels of a day are taken once, after it."""
    spec = spec_for(ServiceLevels, {"looks": Freshness})
    return spec.replace_attributes(deps=[*spec.deps, dg.AssetDep(asset_key(IngestionLedger))])


@step(_levels_spec())
def service_levels(run: StepRun) -> None:
    """Which promises were kept on each day of the run."""
    days = run.days()
    levels = [_levels_of(run.context.instance, run.lake, day) for day in days]
    run.publish(ServiceLevels, [pl.concat(levels)], days)


def _levels_of(instance: dg.DagsterInstance, lake: Lake, day: dt.date) -> pl.DataFrame:
    recorded = lake.scan(ServiceLevels, day - dt.timedelta(reports.LONGEST_MONTH_DAYS), day).collect()
    succeeded, failed = observations.finished_runs(instance, day)
    received, rejected = observations.received_and_rejected(lake, day)
    facts = reports.DayFacts(day, succeeded, failed, received, rejected, _bytes_of(lake, recorded, day))
    features = [key for key, table in contracts().items() if table.table_group() == FEATURES]
    return reports.service_levels(lake.scan(Freshness, day, day).collect(), recorded, facts, features)


def _bytes_of(lake: Lake, recorded: pl.DataFrame, day: dt.date) -> int | None:
    """What was recorded of the day before; of today and yesterday the size now, of older days nothing can be said."""
    if day >= today_utc() - dt.timedelta(days=1):
        return observations.stored_bytes(lake)
    known = recorded.filter(pl.col("level_date") == day, pl.col("name") == reports.STORAGE_BYTES)["value"].drop_nulls()
    return int(known[0]) if len(known) else None


freshness = freshness_asset(landing_sources())
