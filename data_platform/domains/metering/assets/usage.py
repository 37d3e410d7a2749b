"""How usage becomes billed calls: one step for the calls and for what is rejected.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
from data_platform.domains.metering.contracts.usage import LlmUsage, LlmUsageRejected, RawLlmUsage
from data_platform.domains.metering.transforms.clean_usage import AROUND, clean_usage, days_around
from data_platform.domains.metering.transforms.usage_parts import in_parts

REPORTS = RawLlmUsage.days(AROUND[0], AROUND[-1])
DAY = pl.col("usage_date")
PART_ROWS = 1_500_000
"""Most reports that are cleaned at a time: a day of 5 million takes 3.6 GB, Dagster's process included."""
SLICE_ROWS = 4_000_000
"""Most reports that a slice's days and those around them may hold; of the latter only reports of the same calls are
held with all their columns, about 0.5 KB each."""

BALANCE = Check(
    "raw_equals_billed_plus_duplicates_plus_rejected",
    LlmUsage,
    "For each day: rows in raw/llm_usage = billed calls + duplicates + rejected rows.",
    blocking=True,
)


def _from_reports(table: type[Table], computed_with: type[Table] | None = None) -> dg.AssetSpec:
    spec = spec_for(table, {"raw": REPORTS}, computed_with=computed_with, automation_condition=when_inputs_change())
    return computed_by(spec, table, clean_usage)


@step(
    _from_reports(LlmUsage),
    _from_reports(LlmUsageRejected, computed_with=LlmUsage),
    name="clean_llm_usage",
    checks=[BALANCE],
)
def clean_llm_usage(run: StepRun) -> None:
    """Billed calls and rejected reports, from one reading of the raw usage."""
    version = run.lake.version(RawLlmUsage)
    received = run.lake.rows(RawLlmUsage, version)
    duplicates: Counter[str] = Counter()

    def clean_days(days: list[dt.date]) -> None:
        beside = days_around(days)
        raw = run.lake.scan(RawLlmUsage, min(days[0], beside[0]), max(days[-1], beside[-1]), version)
        parts = -(-sum(received.get(str(day), 0) for day in days) // PART_ROWS)
        rejected: list[pl.DataFrame] = []
        seen: Counter[str] = Counter()

        def cleaned() -> Iterator[pl.DataFrame]:
            for part in in_parts(raw.filter(DAY.is_in(days)), parts):
                found = clean_usage(part, raw.filter(DAY.is_in(beside)))
                rejected.append(found.rejected)
                seen.update({str(day): count for day, count in found.duplicates.iter_rows()})
                yield found.clean

        # A day whose calls were refused keeps its rejected reports too: the two tables tell of one reading.
        if published := run.publish(LlmUsage, cleaned(), days):
            of_published = (part.filter(pl.col("event_date").is_in(published)) for part in rejected)
            run.publish(LlmUsageRejected, of_published, published)
        duplicates.update(seen)

    run.compute_each(LlmUsage, {"raw": REPORTS}, clean_days, SLICE_ROWS)
    parts = {
        "raw": received,
        "billed": run.publication(LlmUsage).rows,
        "duplicates": duplicates,
        "rejected": run.publication(LlmUsageRejected).rows,
    }
    run.found(BALANCE.name, {day: _balance(day, parts) for day in parts["billed"]})


def _balance(day: str, parts: Mapping[str, Mapping[str, int]]) -> CheckOutcome:
    counts = {name: rows.get(day, 0) for name, rows in parts.items()}
    balanced = counts["raw"] == counts["billed"] + counts["duplicates"] + counts["rejected"]
    return CheckOutcome(balanced, counts, counts["raw"])
