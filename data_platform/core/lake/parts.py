"""Days cut into parts that bound how many rows are held at a time.
Not here: slices of a run, whose days must follow each other (partitions, which imports Dagster)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Day = TypeVar("Day")


def in_parts(days: Iterable[tuple[Day, int]], most_rows: int) -> Iterator[list[Day]]:
    """Days with their rows, in order, in parts of at most `most_rows` rows, or of one day that has more."""
    part: list[Day] = []
    held = 0
    for day, rows in days:
        if part and held + rows > most_rows:
            yield part
            part, held = [], 0
        part.append(day)
        held += rows
    if part:
        yield part
