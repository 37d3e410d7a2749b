"""Landing folders as Dagster assets: one step takes in whatever has landed, a sensor starts it.
Belongs here: the ingestion asset of any set of sources. Not here: how lines are read or committed (landing), what is
checked of them (ingestion_checks)."""

# No postponed annotations here: Dagster reads the annotations of asset functions at import.

import contextlib
import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Table
from data_platform.core.errors import counted
from data_platform.core.instance.dead_runs import close_dead_runs
from data_platform.core.lake.commits import Commit
from data_platform.core.lake.moved_rows import note_moves
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.publication import DELTA_VERSION
from data_platform.core.orchestration.specs import spec_for
from data_platform.core.orchestration.steps import StepRun, step_of_events
from data_platform.core.quality.connected import newly_judged
from data_platform.core.settings import settings
from data_platform.sources.batch_plan import Plan
from data_platform.sources.growth import Followed
from data_platform.sources.ingestion_checks import check_specs, judge_ingestion
from data_platform.sources.landing import (
    BatchResult,
    Landing,
    Progress,
    has_unfinished_plan,
    is_being_ingested,
)
from data_platform.sources.landing_files import pending_files, unsettled, wait_until_settled
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.line_parser import LineParser
from data_platform.sources.replay import commit_replay
from data_platform.sources.unread import (
    MOST_NAMED,
    UNREAD_REMEDY,
    digest_of,
    is_news,
    settled_unread_files,
    unread_files,
)
from data_platform.sources.withdrawal import commit_withdrawal
from data_platform.sources.worker_state import worker_lives

INGEST_LANDING = "ingest_landing"
RETRY_SECONDS = 600
BEGINNING_SECONDS = 30
"""A run that is started has the lock of its folder within so long."""
FILES_IN_KEY = 200
"""Files whose name, size and time of change the key of a run is made of."""


class IngestionConfig(dg.Config):
    """`most_files` bounds how many files of each folder one run takes in: by itself a run takes in all that wait."""

    most_files: int | None = None


def landing_of(source: LandingSource, lake: Lake, root: Path | None = None) -> Landing:
    configured = settings()
    parser = LineParser(source, configured.first_day, dt.timedelta(minutes=configured.future_tolerance_minutes))
    return Landing(source, root or configured.landing, lake, parser)


def ingestion_assets(
    sources: Sequence[LandingSource], read_into: Mapping[str, Sequence[dg.AssetKey]]
) -> dg.AssetsDefinition:
    """One step for all raw tables, their rejected tables and the ledger; what is `read_into` a source comes before its
    raw table.

    Which days it touches is known only after reading the files, so each touched partition is recorded as materialised
    by its own event, and automation carries on from exactly there.
    """
    specs = [spec_for(IngestionLedger, skippable=True)]
    for source in sources:
        before = [dg.AssetDep(key) for key in read_into.get(source.name, ())]
        specs.append(spec_for(source.table, skippable=True).replace_attributes(deps=before))
        specs.append(spec_for(source.rejected, skippable=True))

    @step_of_events(*specs, name=INGEST_LANDING, checks=check_specs(sources), can_subset=True, config=IngestionConfig)
    def ingest_landing(run: StepRun) -> Iterator[Any]:
        context, config = run.context, run.config
        asked = context.selected_asset_keys
        chosen = [one for one in sources if asked & {asset_key(one.table), asset_key(one.rejected)}]
        files = 0
        faults: list[Exception] = []
        for source in chosen:
            try:
                files += take_in(context, landing_of(source, run.lake), config.most_files)
            except Exception as fault:  # one source stops no other
                context.log.exception(f"{source.name} could not be taken in")
                faults.append(fault)
        for unread in unread_files(settings().landing, sources)[:MOST_NAMED]:
            context.log.warning(f"{unread.in_words(settings().landing)} is not read: {UNREAD_REMEDY}")
        yield from judge_ingestion(context, run.lake, chosen, sources, files)
        if faults:
            raise faults[0]

    return ingest_landing


def take_in(context: dg.AssetExecutionContext, landing: Landing, most_files: int | None) -> int:
    """Take in what waits in one folder, batch by batch, and tell Dagster of each; how many files that were."""
    files = 0
    with landing.locked():
        for plan in landing.batches(most_files, settle=True):
            result = carry_out(landing, plan)
            for reason in result.left_out:
                context.log.warning(f"{reason}; it was left out")
            record_batch(context, landing.lake, result)
            landing.finish(plan)
            files += len(result.plan.files)
    return files


def carry_out(landing: Landing, plan: Plan, progress: Progress | None = None) -> BatchResult:
    """Commit a plan: the files it names, or the rejected lines it moves. Hold the lock; safe to repeat.

    Days on which rows of the batch were told before are touched as well, for what counts of these rows may move; so are
    days that are judged from now on, because an optional source was connected.
    """
    if plan.withdraws:
        result = commit_withdrawal(landing, plan)
    else:
        result = commit_replay(landing, plan) if plan.replays else landing.commit(plan, progress)
    received_at = plan.received_at if plan.files else None  # replayed rows keep the time of their line
    touched = note_moves(landing.lake, landing.source.table, result.days, received_at)
    touched |= newly_judged(landing.lake, landing.source.table, result.days)
    result.days |= dict.fromkeys(touched - result.days.keys(), 0)
    return result


def record_batch(context: dg.AssetExecutionContext, lake: Lake, result: BatchResult) -> None:
    """Log one materialisation per partition that the batch touched, before its files are put away: after a crash the
    batch is reported again rather than not at all."""
    context.log.info(summary(result))
    from data_platform.core.instance.dagster_home import sync_history  # SQLAlchemy: 0.7 s of loading the code location

    for materialization in materializations(lake, result):
        context.log_event(materialization)
    sync_history(context.instance, context.run.run_id)  # the plan, from which it would be told again, goes next


def summary(result: BatchResult) -> str:
    """One line on a batch."""
    what = "replay" if result.plan.replays else counted(len(result.plan.files), "file")
    what = f"withdrawal of {counted(len(result.plan.withdraws), 'file')}" if result.plan.withdraws else what
    return (
        f"{result.source.name}: batch {result.plan.batch}, {what}, "
        f"{counted(result.received, 'line')} received = {result.stored} stored + {result.rejected} rejected"
    )


def materializations(lake: Lake, result: BatchResult) -> Iterator[dg.AssetMaterialization]:
    """One per partition of the raw and rejected table and the ledger that the batch touched."""
    ledger_days = {str(day): files for day, files in result.ledger["received_date"].value_counts().iter_rows()}
    for table, days in (
        (result.source.table, result.days),
        (result.source.rejected, result.rejected_days),
        (IngestionLedger, ledger_days),
    ):
        if days:
            yield from _of_days(table, days, result.commits.get(table) or _current(lake, table))


def _current(lake: Lake, table: type[Table]) -> Commit:
    """The table as it stands, for a batch that was committed before."""
    there = lake.partitions(table)
    rows, size = (dict(there.select("partition", count).iter_rows()) for count in ("rows", "bytes"))
    return Commit(lake.version(table) or 0, rows, size)


def _of_days(table: type[Table], days: dict[str, int], commit: Commit) -> Iterator[dg.AssetMaterialization]:
    for day in sorted(days):
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": commit.rows.get(day, 0),  # a replay may have moved a day's last line
            "size_bytes": commit.bytes.get(day, 0),
            "rows_of_this_batch": days[day],
            DELTA_VERSION: str(commit.version),
        }
        yield dg.AssetMaterialization(asset_key(table), partition=day, metadata=metadata)


def waiting_sources(sources: Sequence[LandingSource], root: Path) -> list[LandingSource]:
    """Sources with files to take in that nobody writes to just now, or with a batch that was interrupted."""

    def waits(folder: Path) -> bool:
        files = pending_files(folder)
        return (
            len(unsettled(files, time.time())) < len(files)
            or has_unfinished_plan(folder)
            or bool(Followed(folder).grown())
        )

    return [source for source in sources if waits(root / source.name)]


def wait_for_writers(sources: Sequence[LandingSource], root: Path) -> list[Path]:
    """Wait a moment for files that are being written to, as the sensor does between its ticks; those that still are."""
    return wait_until_settled(root / source.name for source in sources)


def tables_of(sources: Sequence[LandingSource]) -> list[type[Table]]:
    """What an ingestion of the sources writes: their raw and rejected tables, and the ledger; none for no sources."""
    tables = [table for source in sources for table in (source.table, source.rejected)]
    return [*tables, IngestionLedger] if tables else []


def tables_to_ingest(sources: Sequence[LandingSource], root: Path) -> list[type[Table]]:
    """What an ingestion would write now: of the sources where something waits; the ledger alone where only what lies
    unread has changed, which its check tells."""
    arriving = tables_of(waiting_sources(sources, root))
    return arriving or ([IngestionLedger] if is_news(root, settled_unread_files(root, sources)) else [])


@dataclass(frozen=True)
class Waiting:
    """What waits in landing: how many files, a digest of the oldest settled ones (empty for none), their sources."""

    files: int
    digest: str
    sources: Sequence[LandingSource]


def what_waits(sources: Sequence[LandingSource], root: Path, limit: int, now: float) -> Waiting:
    """A look at landing; the digest is over name, size and mtime of the first `limit` files that are settled."""
    files = 0
    settled: dict[LandingSource, list[tuple[str, int, int]]] = {}
    for source in sources:
        folder = root / source.name
        waiting = pending_files(folder)
        grown = Followed(folder).grown()
        files += len(waiting) + len(grown)
        moving = set(unsettled(waiting, now))
        known_by = [(one.name, one.start + one.bytes, one.changed_ns) for one in grown]
        for path in waiting:
            with contextlib.suppress(OSError):  # taken in meanwhile
                if path not in moving:
                    stat = path.lstat()
                    known_by.append((str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns))
        if has_unfinished_plan(folder):
            known_by.append((source.name, 0, 0))
        if known_by:
            settled[source] = known_by
    names = [one for of_source in settled.values() for one in of_source[:limit]]
    digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=12).hexdigest() if names else ""
    return Waiting(files, digest, list(settled))


def is_under_way(instance: dg.DagsterInstance, job_name: str, sources: Sequence[LandingSource], root: Path) -> bool:
    """Whether a process takes files in, or one is about to. What Dagster says of a run is true of the process alone
    while that lives: only a run that has just begun is believed, others by the lock of the folder."""
    if any(is_being_ingested(root / source.name) for source in sources):
        return True
    queued = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING]
    begun = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=BEGINNING_SECONDS)
    return bool(
        instance.get_runs_count(dg.RunsFilter(job_name=job_name, statuses=queued))
        or instance.get_runs_count(
            dg.RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.STARTED], updated_after=begun)
        )
    )


def _run_key(instance: dg.DagsterInstance, job_name: str, digest: str, now: float) -> str:
    """New for other files, every ten minutes, and after each run that died: one that failed in a step would again."""
    since = now - now % RETRY_SECONDS
    ended = dg.RunsFilter(
        job_name=job_name,
        statuses=[dg.DagsterRunStatus.FAILURE],
        created_after=dt.datetime.fromtimestamp(since, dt.UTC),
    )
    died = sum(instance.get_run_stats(run.run_id).steps_failed == 0 for run in instance.get_runs(ended, limit=1000))
    return f"{digest}-{int(since)}-{died}"


def landing_sensor(sources: Sequence[LandingSource], job: Any) -> dg.SensorDefinition:
    """Start one ingestion run when settled files wait, or when others than before lie unread. The run key is a digest
    of these, so ticks do not repeat a run for the same files; they are tried again when their run died, or ten minutes
    later."""

    @dg.sensor(
        name="landing_files",
        job=job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in files dropped into landing folders.",
    )
    def landing_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        for run_id in close_dead_runs(context.instance):
            context.log.warning(f"run {run_id} is closed: its process is gone")
        if worker_lives(settings().worker):
            return dg.SkipReason("a worker takes files in")
        now = dt.datetime.now(dt.UTC).timestamp()
        waiting = what_waits(sources, settings().landing, FILES_IN_KEY, now)
        unread = [] if waiting.digest else settled_unread_files(settings().landing, sources)
        if not waiting.digest and not is_news(settings().landing, unread):
            return dg.SkipReason(f"{waiting.files} files wait, none settled" if waiting.files else "no files wait")
        if is_under_way(context.instance, job.name, waiting.sources, settings().landing):
            return dg.SkipReason(f"{waiting.files} files wait for the running ingestion")
        request = dg.RunRequest(
            run_key=_run_key(context.instance, job.name, waiting.digest or digest_of(settings().landing, unread), now),
            tags={"data_platform/files_waiting": str(waiting.files)},
            asset_selection=[asset_key(table) for table in tables_of(waiting.sources) or [IngestionLedger]],
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
