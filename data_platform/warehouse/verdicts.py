"""What a dbt test found, as verdicts: one per day, or one of the whole table.
Not here: running tests (computing, lake_plugin)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_platform.core.contract.table import Severity, Table
from data_platform.core.quality.validation import SAMPLE_ROWS, WHOLE_TABLE, Status, Verdict


@dataclass(frozen=True)
class Tested:
    """What came of a dbt test; `failing` are the rows that it selected, where it failed."""

    name: str
    severity: Severity
    status: Status
    failing: pl.DataFrame | None = None
    message: str | None = None


def verdicts_of(test: Tested, table: type[Table], rows: Mapping[str, int]) -> list[Verdict]:
    """A verdict for each partition of which there are `rows`."""
    verdicts = []
    for partition, count in rows.items():
        sample, found = _failing_of(test.failing, table, partition)
        status = Status.PASSED if test.status == Status.FAILED and not found else test.status
        verdict = Verdict(test.name, test.severity, partition, found, count, sample, status, message=test.message)
        verdicts.append(verdict)
    return verdicts


def of_days(verdicts: Iterable[Verdict], days: Sequence[dt.date]) -> list[Verdict]:
    """Those of these days; of none: of a whole table."""
    names = {str(day) for day in days} or {WHOLE_TABLE}
    return [verdict for verdict in verdicts if verdict.partition in names]


def _failing_of(
    failing: pl.DataFrame | None, table: type[Table], partition: str
) -> tuple[tuple[dict[str, Any], ...], int]:
    """Keys of some failing rows of a day, and how many there are; rows that name no day count for every day."""
    if failing is None:
        return (), 0
    if table.partition and table.partition in failing.columns:
        failing = failing.filter(pl.col(table.partition).cast(pl.String) == partition)
    named = [name for name in table.primary_key if name in failing.columns] or failing.columns[:5]
    return tuple(failing.head(SAMPLE_ROWS).select(named).to_dicts()), len(failing)
