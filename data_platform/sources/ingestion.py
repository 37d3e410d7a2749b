"""Landing folders as Dagster assets: one step takes in whatever has landed, a sensor starts it.
Belongs here: the ingestion asset of any set of sources. Not here: how lines are read or committed (landing)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.assets import spec_for
from data_platform.core.automation import only_transient_faults_retried, retry_transient_faults
from data_platform.core.checks import CheckOutcome, asset_key, record_check_in_ledger, record_outcomes_in_ledger
from data_platform.core.contract import Severity, Table
from data_platform.core.io_manager import LakeResource
from data_platform.core.lake import Lake
from data_platform.core.received import IngestionLedger
from data_platform.core.settings import settings
from data_platform.core.validation import SAMPLE_ROWS, WHOLE_TABLE, Status, Verdict
from data_platform.sources.landing import BatchResult, Landing, Plan, Progress, pending_files, unread_files
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.line_parser import LineParser
from data_platform.sources.replay import commit_replay
from data_platform.sources.schema_drift import INCOMING_FIELDS, judge_incoming

BALANCE = "received_equals_stored_plus_rejected"
WHOLE_FILES = "files_are_whole"
REJECTED_SHARE = "rejected_share"
MOST_REJECTED = 0.05
INGEST_LANDING = "ingest_landing"
RETRY_SECONDS = 600
MOST_TOLD = 20
UNREAD_REMEDY = (
    "landing takes .ndjson and .jsonl, plain, .gz or .zst, in the folder of a source. "
    "Move it there, or bring it in with `data-platform ingest --mapping`."
)
SETTLE_SECONDS = 2
"""A file must not have changed for this long before the sensor takes it: it may still be being copied."""


class IngestionConfig(dg.Config):
    """`most_files` bounds how many files of each folder one run takes in."""

    most_files: int = 10_000


def landing_of(source: LandingSource, lake: Lake, root: Path | None = None) -> Landing:
    told = settings()
    parser = LineParser(source, told.first_day, dt.timedelta(minutes=told.future_tolerance_minutes))
    return Landing(source, root or told.landing, lake, parser)


def ingestion_assets(sources: Sequence[LandingSource]) -> dg.AssetsDefinition:
    """One step for all raw tables, their rejected tables and the ledger.

    Which days it touches is known only after reading the files, so each touched partition is recorded as materialised
    by its own event, and automation carries on from exactly there.
    """
    specs = [spec_for(table, skippable=True) for source in sources for table in (source.table, source.rejected)] + [
        spec_for(IngestionLedger, skippable=True)
    ]

    @dg.multi_asset(
        name=INGEST_LANDING,
        specs=specs,
        can_subset=True,
        check_specs=[
            dg.AssetCheckSpec(
                BALANCE,
                asset=asset_key(IngestionLedger),
                blocking=True,
                description="Over all files: lines received = rows in the raw tables + rows in the rejected tables.",
            ),
            dg.AssetCheckSpec(
                WHOLE_FILES,
                asset=asset_key(IngestionLedger),
                description="No file of the newest day of receipt was cut short or damaged.",
            ),
            *(
                dg.AssetCheckSpec(
                    REJECTED_SHARE,
                    asset=asset_key(source.table),
                    description=f"At most {MOST_REJECTED:.0%} of the lines of the newest day of receipt are rejected.",
                )
                for source in sources
            ),
            *(
                dg.AssetCheckSpec(
                    INCOMING_FIELDS,
                    asset=asset_key(source.table),
                    description="No field of the newest lines appeared, vanished or changed its type.",
                )
                for source in sources
            ),
        ],
        retry_policy=retry_transient_faults(),
    )
    def ingest_landing(context: dg.AssetExecutionContext, config: IngestionConfig, lake: LakeResource) -> Iterator[Any]:
        with only_transient_faults_retried():
            store = lake.lake()
            files = 0
            for source in sources:
                landing = landing_of(source, store)
                with landing.locked():
                    for plan in landing.batches(config.most_files):
                        result = carry_out(landing, plan)
                        record_batch(context, store, result)
                        landing.finish(plan)
                        files += len(plan.files)
                yield _kept(context, store, source.table, _rejected_share(store, source))
                yield _incoming_fields(context, store, source)
            for path in unread_files(settings().landing, sources)[:MOST_TOLD]:
                context.log.warning(f"{path} is not read: {UNREAD_REMEDY}")
            yield _whole_files(context, store)
            yield _kept(context, store, IngestionLedger, _ledger_balance(store, sources, files))

    return ingest_landing


def carry_out(landing: Landing, plan: Plan, progress: Progress | None = None) -> BatchResult:
    """Commit a plan: the files it names, or the rejected lines it moves. Hold the lock; safe to repeat."""
    return commit_replay(landing, plan) if plan.replays else landing.commit(plan, progress)


def record_batch(context: dg.AssetExecutionContext, lake: Lake, result: BatchResult) -> None:
    """Log one materialisation per partition that the batch touched, before its files are put away: after a crash the
    batch is reported again rather than not at all."""
    what = "replay" if result.plan.replays else f"{len(result.plan.files)} files"
    context.log.info(
        f"{result.source.name}: batch {result.plan.batch}, {what}, "
        f"{result.received} lines received = {result.stored} stored + {result.rejected} rejected"
    )
    ledger_days = {str(day): files for day, files in result.ledger["received_date"].value_counts().iter_rows()}
    for table, days in (
        (result.source.table, result.days),
        (result.source.rejected, result.rejected_days),
        (IngestionLedger, ledger_days),
    ):
        _record_days(context, lake, table, days)


def _record_days(context: dg.AssetExecutionContext, lake: Lake, table: type[Table], days: dict[str, int]) -> None:
    if not days:
        return
    sizes = {row["partition"]: row for row in lake.partitions(table).iter_rows(named=True)}
    version = lake.version(table)
    nothing = {"rows": 0, "bytes": 0}  # a replay may have moved the last rejected line of a day
    for day in sorted(days):
        metadata = {
            "dagster/partition_row_count": sizes.get(day, nothing)["rows"],
            "size_bytes": sizes.get(day, nothing)["bytes"],
            "rows_of_this_batch": days[day],
            "delta/version": version,
        }
        context.log_event(dg.AssetMaterialization(asset_key(table), partition=day, metadata=metadata))


def _kept(
    context: dg.AssetExecutionContext, lake: Lake, table: type[Table], result: dg.AssetCheckResult
) -> dg.AssetCheckResult:
    """The result, recorded in the verdict ledger."""
    told: dict[str, Any] = {name: value.value for name, value in result.metadata.items()}
    severity = Severity.WARNING if result.severity == dg.AssetCheckSeverity.WARN else Severity.ERROR
    failed_rows = 0 if result.passed else int(told.get("rejected_lines") or 0)
    outcome = CheckOutcome(result.passed, told, int(told.get("received_lines") or 0), failed_rows)
    record_outcomes_in_ledger(context, lake, table, str(result.check_name), severity, {WHOLE_TABLE: outcome})
    return result


def _incoming_fields(context: dg.AssetExecutionContext, lake: Lake, source: LandingSource) -> dg.AssetCheckResult:
    verdict = judge_incoming(lake, source)
    record_check_in_ledger(context, lake, source.table, INCOMING_FIELDS, [verdict])
    return dg.AssetCheckResult(
        asset_key=asset_key(source.table),
        check_name=INCOMING_FIELDS,
        passed=verdict.status in (Status.PASSED, Status.NOT_JUDGED),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"status": verdict.status.value, "lines": verdict.rows, "differences": verdict.message or ""},
    )


def _rejected_share(lake: Lake, source: LandingSource) -> dg.AssetCheckResult:
    """Judged over the newest day on which anything was received: a run that finds no files does not clear a warning."""
    ledger = lake.scan(IngestionLedger).filter(pl.col("source") == source.name)
    newest = ledger.filter(pl.col("received_date") == pl.col("received_date").max())
    received, rejected = newest.select(pl.sum("received_lines"), pl.sum("rejected_lines")).collect().row(0)
    return dg.AssetCheckResult(
        asset_key=asset_key(source.table),
        check_name=REJECTED_SHARE,
        passed=rejected <= MOST_REJECTED * received,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"received_lines": received, "rejected_lines": rejected},
    )


def _whole_files(context: dg.AssetExecutionContext, lake: Lake) -> dg.AssetCheckResult:
    """Judged over the newest day on which anything was received, like the share of rejected lines."""
    files = lake.scan(IngestionLedger).filter(pl.col("received_date") == pl.col("received_date").max()).collect()
    damaged = files.filter(pl.col("damage").is_not_null()).select("source", "source_file", "damage")
    status = Status.PASSED if damaged.is_empty() else Status.FAILED
    sample = tuple(damaged.head(SAMPLE_ROWS).to_dicts())
    verdict = Verdict(WHOLE_FILES, Severity.WARNING, WHOLE_TABLE, len(damaged), len(files), sample, status)
    record_check_in_ledger(context, lake, IngestionLedger, WHOLE_FILES, [verdict])
    told = [f"{source}/{file}: {damage}" for source, file, damage in damaged.head(MOST_TOLD).iter_rows()]
    return dg.AssetCheckResult(
        asset_key=asset_key(IngestionLedger),
        check_name=WHOLE_FILES,
        passed=damaged.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"damaged_files": len(damaged), "files": told},
    )


def _ledger_balance(lake: Lake, sources: Sequence[LandingSource], files: int) -> dg.AssetCheckResult:
    """The balance over all time, from the Delta logs alone (no data is read but the small ledger)."""
    ledger = lake.scan(IngestionLedger).select("received_lines", "stored_lines", "rejected_lines").sum().collect()
    received, stored, rejected = (int(value or 0) for value in ledger.row(0))
    found_stored = sum(int(lake.partitions(source.table)["rows"].sum()) for source in sources)
    found_rejected = sum(int(lake.partitions(source.rejected)["rows"].sum()) for source in sources)
    return dg.AssetCheckResult(
        asset_key=asset_key(IngestionLedger),
        check_name=BALANCE,
        passed=received == stored + rejected and stored == found_stored and rejected == found_rejected,
        metadata={
            "files_of_this_run": files,
            "received_lines": received,
            "ledger_stored": stored,
            "ledger_rejected": rejected,
            "rows_in_raw_tables": found_stored,
            "rows_in_rejected_tables": found_rejected,
        },
    )


def landing_fingerprint(sources: Sequence[LandingSource], root: Path, limit: int, now: float) -> tuple[str, int]:
    """A digest of the oldest `limit` settled files that wait (name, size, mtime), and how many wait in all."""
    waiting = [path for source in sources for path in pending_files(root / source.name)]
    settled = [(path, path.stat()) for path in waiting]
    told = [
        (str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns)
        for path, stat in settled
        if now - stat.st_mtime >= SETTLE_SECONDS
    ]
    if not told:
        return "", len(waiting)
    return hashlib.blake2b(json.dumps(told[:limit]).encode(), digest_size=12).hexdigest(), len(waiting)


def landing_sensor(sources: Sequence[LandingSource], job: Any) -> dg.SensorDefinition:
    """Start one ingestion run when settled files wait. The run key is a digest of what waits, so ticks do not repeat a
    run for the same files; files that still wait ten minutes later (their run was killed) are tried again."""

    @dg.sensor(
        name="landing_files",
        job=job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in files dropped into landing folders.",
    )
    def landing_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = dt.datetime.now(dt.UTC).timestamp()
        digest, waiting = landing_fingerprint(sources, settings().landing, settings().files_per_tick, now)
        if not digest:
            return dg.SkipReason(f"{waiting} files wait, none settled" if waiting else "no files wait")
        running = context.instance.get_runs_count(
            dg.RunsFilter(
                job_name=job.name,
                statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
            )
        )
        if running:
            return dg.SkipReason(f"{waiting} files wait for the running ingestion")
        request = dg.RunRequest(
            run_key=f"{digest}-{int(now // RETRY_SECONDS)}",
            run_config={"ops": {INGEST_LANDING: {"config": {"most_files": settings().files_per_tick}}}},
            tags={"data_platform/files_waiting": str(waiting)},
        )
        return dg.SensorResult(run_requests=[request])

    return landing_files


def ingest_waiting(
    sources: Sequence[LandingSource], lake: Lake, root: Path, progress: Progress | None = None
) -> list[BatchResult]:
    """Take in everything that waits, without Dagster (for tools and tests)."""
    results = []
    for source in sources:
        landing = landing_of(source, lake, root)
        with landing.locked():
            for plan in landing.batches():
                results.append(carry_out(landing, plan, progress))
                landing.finish(plan)
    return results
