"""How the days of a run are cut into slices that fit into memory.
Not here: days as such (calendar), which days a table needs of another (table.Days)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from data_platform.core.contract.table import Days

BRIDGED_ROWS, BRIDGED_DAYS = 30_000, 31
"""Days between two that are computed go along unpublished where they are at most so many: a slice costs some 30 ms
whatever is in it (reading, one commit), a row about 1 µs. Rows of inputs without a first day are not counted."""


def slices(
    days: Sequence[dt.date],
    inputs: Sequence[tuple[Days, Mapping[str, int]]],
    most_rows: int,
    bridged_rows: int = BRIDGED_ROWS,
) -> Iterator[list[dt.date]]:
    """Cut ascending days into parts whose inputs hold at most `most_rows` rows, one day at least. Parts go over
    gaps of at most `bridged_rows`: what is computed of the days in between is to be thrown away.

    `inputs` are the bounded inputs with their rows per partition. A day costs the rows of its whole window, because a
    rolling measure touches each row once per day it counts for.
    """
    cost: Callable[[dt.date], int] = lambda day: sum(  # noqa: E731
        rows.get((day + dt.timedelta(offset)).isoformat(), 0)
        for window, rows in inputs
        if window.first is not None
        for offset in range(window.first, window.last + 1)
    )
    pending: list[dt.date] = []
    held = 0
    for day in days:
        rows = cost(day)
        gap = _gap_cost(pending[-1], day, cost, bridged_rows) if pending else 0
        if pending and (gap is None or held + gap + rows > most_rows):
            yield pending
            pending, held, gap = [], 0, 0
        held += gap or 0
        pending.append(day)
        held += rows
    if pending:
        yield pending


def _gap_cost(before: dt.date, after: dt.date, cost: Callable[[dt.date], int], most_rows: int) -> int | None:
    """Rows of the days between two; None where they are too many to be bridged."""
    rows, between = 0, (after - before).days - 1
    if between and (between > BRIDGED_DAYS or not most_rows):
        return None
    for offset in range(1, between + 1):
        rows += cost(before + dt.timedelta(offset))
        if rows > most_rows:
            return None
    return rows
