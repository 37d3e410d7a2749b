"""A day of calls that is too big for memory comes in parts. Not here: what is computed of a part."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

PART_CALLS = 1_500_000
"""Most calls that are held with all that they say: about 1 KB each, with all prices of a call beside it. A day of 5
million takes 3.6 GB, Dagster's process included."""


@dataclass(frozen=True)
class Part:
    """One of so many parts of a day's calls."""

    number: int
    of: int

    def rows(self, calls: pl.LazyFrame, by: pl.Expr | None = None) -> pl.LazyFrame:
        """The rows of this part: each call is in one, those with an equal `by` (a hash, else of its id) in the same."""
        if self.of == 1:
            return calls
        return calls.filter((pl.col("usage_id").hash() if by is None else by) % self.of == self.number)

    def collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """What is computed of this part; of a day that is not cut in memory, which is faster."""
        return rows.collect(engine="streaming" if self.of > 1 else "auto")


def parts_of(count: int) -> list[Part]:
    """The parts of so many calls, at least one."""
    parts = max(1, -(-count // PART_CALLS))
    return [Part(number, parts) for number in range(parts)]
