"""What is checked of everything that came in: the balance, whole files, the share of rejected lines, their fields.
Belongs here: the checks' specs, reaching and recording their verdicts. Not here: taking files in (ingestion), comparing
fields (schema_drift)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from data_platform.core.contract.received import IngestionLedger
from data_platform.core.contract.table import Severity, Table
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.checks import SEVERITIES, asset_key
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import SAMPLE_ROWS, WHOLE_TABLE, Status, Verdict
from data_platform.core.settings import settings
from data_platform.sources.landing_files import Unread, shown
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.positions import discontinuities
from data_platform.sources.schema_drift import INCOMING_FIELDS, judge_incoming
from data_platform.sources.unread import MOST_NAMED, UNREAD_REMEDY, note_judged, settled_unread_files

BALANCE = "received_equals_stored_plus_rejected"
WHOLE_FILES = "files_are_whole"
EVERY_FILE_READ = "every_file_is_read"
POSITIONS = "positions_are_contiguous"
REJECTED_SHARE = "rejected_share"
MOST_REJECTED = 0.05


@dataclass(frozen=True)
class Finding:
    """A verdict on a table, and what the check of that name shows of it."""

    table: type[Table]
    verdict: Verdict
    metadata: Mapping[str, Any]

    @property
    def check(self) -> dg.AssetCheckKey:
        return dg.AssetCheckKey(asset_key(self.table), self.verdict.rule)

    @property
    def passed(self) -> bool:
        return self.verdict.status in (Status.PASSED, Status.NOT_JUDGED)

    def result(self) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            asset_key=self.check.asset_key,
            check_name=self.check.name,
            passed=self.passed,
            severity=SEVERITIES[self.verdict.severity],
            metadata=self.metadata,
        )

    def evaluation(self) -> dg.AssetCheckEvaluation:
        """The same, outside of any run."""
        return dg.AssetCheckEvaluation(
            asset_key=self.check.asset_key,
            check_name=self.check.name,
            passed=self.passed,
            severity=SEVERITIES[self.verdict.severity],
            metadata=self.metadata,
        )


def check_specs(sources: Sequence[LandingSource]) -> list[dg.AssetCheckSpec]:
    """Four checks of the ledger, two of each raw table."""
    ledger = asset_key(IngestionLedger)
    specs = [
        dg.AssetCheckSpec(
            BALANCE,
            asset=ledger,
            blocking=True,
            description="Over all files: lines received = rows in the raw and rejected tables + lines withdrawn.",
        ),
        dg.AssetCheckSpec(
            WHOLE_FILES,
            asset=ledger,
            description="No file of the newest day of receipt was cut short or damaged.",
        ),
        dg.AssetCheckSpec(
            EVERY_FILE_READ,
            asset=ledger,
            description="Nothing lies in landing that is never taken in: of another kind, in no folder of a source, "
            "a link, without the right to be read, or refused and in quarantine.",
        ),
        dg.AssetCheckSpec(
            POSITIONS,
            asset=ledger,
            description="Every segment of a stream begins where the one before it ended: nothing is left out, nothing "
            "was received twice.",
        ),
    ]
    for source in sources:
        specs += [
            dg.AssetCheckSpec(
                REJECTED_SHARE,
                asset=asset_key(source.table),
                description=f"At most {MOST_REJECTED:.0%} of the lines of the newest day of receipt are rejected.",
            ),
            dg.AssetCheckSpec(
                INCOMING_FIELDS,
                asset=asset_key(source.table),
                description="No field of the newest lines appeared, vanished or changed its type.",
            ),
        ]
    return specs


def judge_ingestion(
    context: dg.AssetExecutionContext,
    lake: Lake,
    taken_in: Sequence[LandingSource],
    sources: Sequence[LandingSource],
    files: int,
) -> Iterator[dg.AssetCheckResult]:
    """Judge what came in, as far as the run was asked to; one commit to the ledger of verdicts."""
    asked = context.selected_asset_check_keys
    for finding in judged(lake, taken_in, sources, files, context.run.run_id, asked, context.retry_number > 0):
        yield finding.result()


def judged(
    lake: Lake,
    taken_in: Sequence[LandingSource],
    sources: Sequence[LandingSource],
    files: int,
    run_id: str,
    asked: Collection[dg.AssetCheckKey] | None = None,
    repeated: bool = False,
) -> list[Finding]:
    """Judge the sources that files were taken in from and the balance over all of them, and keep the verdicts. `asked`
    None asks for everything; `repeated` where the run may have recorded some before."""
    ledger = lake.scan(IngestionLedger).collect()
    landing = settings().landing
    unread = settled_unread_files(landing, sources)
    findings = [
        _whole_files(ledger),
        _every_file_read(landing, unread),
        _positions(ledger),
        _balance(ledger, lake, sources, files),
    ]
    for source in taken_in:
        of_source = ledger.filter(pl.col("source") == source.name)
        findings += [_rejected_share(of_source, source), _incoming_fields(of_source, lake, source)]
    findings = [finding for finding in findings if asked is None or finding.check in asked]
    recorded = [(finding.table, finding.verdict.rule, finding.verdict) for finding in findings]
    verdict_ledger.record_tables(lake, recorded, run_id, repeated=repeated)
    if any(finding.verdict.rule == EVERY_FILE_READ for finding in findings):
        note_judged(landing, unread)
    return findings


def _incoming_fields(ledger: pl.DataFrame, lake: Lake, source: LandingSource) -> Finding:
    verdict = judge_incoming(lake, source, ledger)
    metadata = {"status": verdict.status.value, "lines": verdict.rows, "differences": verdict.message or ""}
    return Finding(source.table, verdict, metadata)


def _rejected_share(ledger: pl.DataFrame, source: LandingSource) -> Finding:
    """Judged over the newest day on which anything was received: a run that finds no files does not clear a warning."""
    newest = _newest_day(ledger)
    received, rejected = newest.select(pl.sum("received_lines"), pl.sum("rejected_lines")).row(0)
    passed = rejected <= MOST_REJECTED * received
    metadata = {"received_lines": received, "rejected_lines": rejected}
    failed = 0 if passed else rejected
    return Finding(
        source.table, _verdict(REJECTED_SHARE, Severity.WARNING, passed, failed, received, metadata), metadata
    )


def _whole_files(ledger: pl.DataFrame) -> Finding:
    """Judged over the newest day on which anything was received, like the share of rejected lines."""
    files = _newest_day(ledger)
    damaged = files.filter(pl.col("damage").is_not_null()).select("source", "source_file", "damage")
    status = Status.PASSED if damaged.is_empty() else Status.FAILED
    sample = tuple(damaged.head(SAMPLE_ROWS).to_dicts())
    verdict = Verdict(WHOLE_FILES, Severity.WARNING, WHOLE_TABLE, len(damaged), len(files), sample, status)
    names = [f"{source}/{file}: {damage}" for source, file, damage in damaged.head(MOST_NAMED).iter_rows()]
    return Finding(IngestionLedger, verdict, {"damaged_files": len(damaged), "files": names})


def _every_file_read(landing: Path, unread: Sequence[Unread]) -> Finding:
    """Judged over everything that lies there, until somebody takes it away."""
    status = Status.FAILED if unread else Status.PASSED
    found = [{"file": shown(one.path.relative_to(landing)), "reason": one.reason} for one in unread]
    sample = tuple(found[:SAMPLE_ROWS])
    verdict = Verdict(EVERY_FILE_READ, Severity.WARNING, WHOLE_TABLE, len(unread), len(unread), sample, status)
    names = [f"{one['file']}: {one['reason']}" for one in found[:MOST_NAMED]]
    return Finding(IngestionLedger, verdict, {"unread_files": len(unread), "files": names, "remedy": UNREAD_REMEDY})


def _positions(ledger: pl.DataFrame) -> Finding:
    """Judged over everything ever received: a gap stays one until what is missing is received."""
    found = discontinuities(ledger.lazy()).collect()
    segments = ledger["stream"].count()
    status = Status.FAILED if len(found) else Status.PASSED
    sample = tuple(found.head(SAMPLE_ROWS).to_dicts())
    verdict = Verdict(POSITIONS, Severity.ERROR, WHOLE_TABLE, len(found), segments, sample, status)
    places = [
        f"{row['source']}: {row['stream']} goes on at {row['begin_position']} instead of {row['expected']}, "
        + (f"{row['missing']} positions are missing" if row["missing"] > 0 else "positions were received twice")
        for row in found.head(MOST_NAMED).to_dicts()
    ]
    return Finding(IngestionLedger, verdict, {"segments": segments, "discontinuities": len(found), "places": places})


def _balance(ledger: pl.DataFrame, lake: Lake, sources: Sequence[LandingSource], files: int) -> Finding:
    """The balance over all time, from the Delta logs alone (no data is read but the small ledger). What a domain
    received that is installed no more is named, and weighed again once it is back."""
    is_known = pl.col("source").is_in([source.name for source in sources])
    absent = sorted(ledger.filter(~is_known)["source"].unique())
    ledger = ledger.filter(is_known)
    counts = (ledger[name].sum() for name in ("received_lines", "stored_lines", "rejected_lines", "withdrawn_lines"))
    received, stored, rejected, withdrawn = map(int, counts)
    found_stored = sum(int(lake.partitions(source.table)["rows"].sum()) for source in sources)
    found_rejected = sum(int(lake.partitions(source.rejected)["rows"].sum()) for source in sources)
    passed = received == stored + rejected + withdrawn and stored == found_stored and rejected == found_rejected
    metadata = {
        "files_of_this_run": files,
        "received_lines": received,
        "ledger_stored": stored,
        "ledger_rejected": rejected,
        "ledger_withdrawn": withdrawn,
        "rows_in_raw_tables": found_stored,
        "rows_in_rejected_tables": found_rejected,
        **({"sources_not_installed": absent} if absent else {}),
    }
    return Finding(IngestionLedger, _verdict(BALANCE, Severity.ERROR, passed, 0, received, metadata), metadata)


def _newest_day(ledger: pl.DataFrame) -> pl.DataFrame:
    return ledger.filter(pl.col("received_date") == pl.col("received_date").max())


def _verdict(
    rule: str, severity: Severity, passed: bool, failed: int, rows: int, metadata: Mapping[str, Any]
) -> Verdict:
    status = Status.PASSED if passed else Status.FAILED
    return Verdict(rule, severity, WHOLE_TABLE, failed, rows, status=status, message=json.dumps(dict(metadata)))
