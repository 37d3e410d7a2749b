"""Days and months of UTC: which is today, when one begins and ends, what lies between two, a moment as people read it.
Not here: days as text (day_ranges), cutting days into slices (day_slices), the days a table needs (table.Days)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

DAY = dt.timedelta(days=1)


def today_utc() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def midnight(day: dt.date) -> dt.datetime:
    """When a day begins."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def end_of(day: dt.date) -> dt.datetime:
    """The first moment after a day."""
    return midnight(day + DAY)


def minute_text(moment: dt.datetime) -> str:
    """`2026-11-28 15:39 UTC`."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def next_month(day: dt.date) -> dt.date:
    """The first day of the month after that of a day."""
    return (day.replace(day=1) + 31 * DAY).replace(day=1)


def without_gaps(days: Sequence[dt.date]) -> list[dt.date]:
    """Every day from the first to the last of ascending days."""
    return [days[0] + offset * DAY for offset in range((days[-1] - days[0]).days + 1)] if days else []
