"""Days as text, consecutive ones as one range: `2024-01-03` or `2024-01-03..2024-01-09`; runs are given their days so.
Not here: which days a table needs of another (table.Days), which are computed (staleness, chosen_days)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from data_platform.core.contract.calendar import DAY


def consecutive(days: Iterable[str]) -> list[list[str]]:
    """Ascending days, cut where one is missing."""
    found: list[list[str]] = []
    for day in days:
        if found and dt.date.fromisoformat(day) - dt.date.fromisoformat(found[-1][-1]) == DAY:
            found[-1].append(day)
        else:
            found.append([day])
    return found


def as_range(first: str, last: str) -> str:
    return first if first == last else f"{first}..{last}"


def as_ranges(days: Sequence[str]) -> list[str]:
    """Ascending days, consecutive ones as one range."""
    return [as_range(run[0], run[-1]) for run in consecutive(days)]


def in_ranges(ranges: Iterable[str]) -> set[str]:
    """The days of `as_ranges`."""
    found: set[str] = set()
    for one in ranges:
        first, last = _ends(one)
        found |= {str(first + dt.timedelta(offset)) for offset in range((last - first).days + 1)}
    return found


def days_in(one: str) -> int:
    """How many days a range has."""
    first, last = _ends(one)
    return (last - first).days + 1


def _ends(one: str) -> tuple[dt.date, dt.date]:
    first, _, last = one.partition("..")
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last or first)
