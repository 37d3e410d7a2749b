"""The step of a clean table and of what is rejected on the way to it, from one reading of what was received: of every
day, raw rows = clean rows + duplicates + rejected rows, which is a check.
Not here: what is wrong with a row, which of several rows counts (transforms of domains)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg
import polars as pl

from data_platform.core.contract.table import Days, Table
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step


class Cleaned(Protocol):
    """Where every raw row of some days went."""

    @property
    def clean(self) -> pl.DataFrame:
        """Rows of the clean table."""

    @property
    def rejected(self) -> pl.DataFrame:
        """Rows of its table of rejected ones, by `event_date`."""

    @property
    def duplicates(self) -> pl.DataFrame:
        """Day and number of the copies that were dropped."""


Clean = Callable[[pl.LazyFrame, list[dt.date], int], Iterable[Cleaned]]
"""What is received of the days a slice needs, the days of the slice, and how many rows these have → what becomes of
them, part by part. Parts share no key."""


def clean_step(
    clean: type[Table],
    rejected: type[Table],
    raw: Days,
    cleaned: Clean,
    transform: Callable[..., Any],
    *,
    most_rows: int | None = None,
    checks: Sequence[Check] = (),
    called: str = "clean",
) -> dg.AssetsDefinition:
    """The step that has `cleaned` called slice by slice and publishes both tables. `transform` is what decides, whose
    code is the version of both; `called` is what clean rows are called in the balance. A day whose clean rows were
    refused keeps its rejected ones too: the two tables tell of one reading."""
    balance = Check(
        f"raw_equals_{called}_plus_duplicates_plus_rejected",
        clean,
        f"For each day: rows in {raw.table.key} = {called} rows + duplicates + rejected rows.",
        blocking=True,
    )

    def spec(table: type[Table], computed_with: type[Table] | None = None) -> dg.AssetSpec:
        return computed_by(spec_for(table, {"raw": raw}, computed_with, when_inputs_change()), table, transform)

    @step(
        spec(clean),
        spec(rejected, computed_with=clean),
        name=f"clean_{clean.table_name()}",
        description=(transform.__doc__ or "").partition("\n\n")[0],
        checks=[balance, *checks],
    )
    def compute(run: StepRun) -> None:
        version = run.lake.version(raw.table)
        received = run.lake.rows(raw.table, version)
        duplicates: Counter[str] = Counter()

        def clean_days(days: list[dt.date]) -> None:
            rows = sum(received.get(str(day), 0) for day in days)
            lines = run.lake.scan(raw.table, *raw.around(days), version)
            rejected_parts: list[pl.DataFrame] = []
            seen: Counter[str] = Counter()
            published = run.publish(clean, _clean_parts(cleaned(lines, days, rows), rejected_parts, seen), days)
            if published:
                run.publish(rejected, (part.filter(_on(published)) for part in rejected_parts), published)
            duplicates.update(seen)

        run.compute_each(clean, {"raw": raw}, clean_days, most_rows)
        parts = {
            "raw": received,
            called: run.publication(clean).rows,
            "duplicates": duplicates,
            "rejected": run.publication(rejected).rows,
        }
        run.found(balance.name, {day: _balance(day, parts, called) for day in parts[called]})

    return compute


def _clean_parts(
    parts: Iterable[Cleaned], rejected: list[pl.DataFrame], duplicates: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Clean rows part by part; what is not clean goes into `rejected` and is counted in `duplicates`, by day."""
    for part in parts:
        rejected.append(part.rejected)
        duplicates.update({str(day): count for day, count in part.duplicates.iter_rows()})
        yield part.clean


def _on(days: Sequence[dt.date]) -> pl.Expr:
    return pl.col("event_date").is_in(list(days))


def _balance(day: str, parts: Mapping[str, Mapping[str, int]], called: str) -> CheckOutcome:
    counts = {name: rows.get(day, 0) for name, rows in parts.items()}
    balanced = counts["raw"] == counts[called] + counts["duplicates"] + counts["rejected"]
    return CheckOutcome(balanced, counts, counts["raw"])
