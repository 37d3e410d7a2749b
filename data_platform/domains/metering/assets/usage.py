"""How usage becomes billed calls: one step for the calls and for what is rejected.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl

from data_platform.core.orchestration.cleaning import clean_step
from data_platform.domains.metering.contracts.usage import LlmUsage, LlmUsageRejected, RawLlmUsage
from data_platform.domains.metering.transforms.clean_usage import AROUND, CleanedUsage, clean_usage, days_around
from data_platform.domains.metering.transforms.usage_parts import in_parts

REPORTS = RawLlmUsage.days(AROUND[0], AROUND[-1])
DAY = pl.col("usage_date")
PART_ROWS = 1_500_000
"""Most reports that are cleaned at a time: a day of 5 million takes 3.6 GB, Dagster's process included."""
SLICE_ROWS = 4_000_000
"""Most reports that a slice's days and those around them may hold; of the latter only reports of the same calls are
held with all their columns, about 0.5 KB each."""


def _cleaned(raw: pl.LazyFrame, days: list[dt.date], rows: int) -> Iterator[CleanedUsage]:
    of_days, beside = raw.filter(DAY.is_in(days)), raw.filter(DAY.is_in(days_around(days)))
    for part in in_parts(of_days, -(-rows // PART_ROWS)):
        yield clean_usage(part, beside)


clean_llm_usage = clean_step(
    LlmUsage, LlmUsageRejected, REPORTS, _cleaned, clean_usage, most_rows=SLICE_ROWS, called="billed"
)
