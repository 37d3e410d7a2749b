"""A bitemporal table said a second time: every publication is kept whole, and questions are answered by looking at all
of them. Plain Python, one row at a time. Not here: polars, or anything imported from what it judges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

DAY = dt.timedelta(days=1)
Value = float | None


def end_of(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) + DAY


@dataclass
class Oracle:
    """Publications in the order they were made: (moment, day → player → value of every row of the day)."""

    publications: list[tuple[dt.datetime, Mapping[dt.date, Mapping[str, Value]]]] = field(default_factory=list)

    def day_as_known(self, day: dt.date, known_at: dt.datetime | None) -> Mapping[str, Value]:
        """The rows of a day as a reader found them at a moment."""
        rows: Mapping[str, Value] = {}
        if known_at is not None and known_at < end_of(day):
            return rows
        for moment, days in self.publications:
            if day in days and (known_at is None or moment <= known_at):
                rows = days[day]
        return rows

    def look_up(
        self, player: str | None, moment: dt.datetime, known_at: dt.datetime | None, ttl: dt.timedelta | None
    ) -> tuple[str, dt.date | None, Value]:
        """(status, snapshot day, value) of the newest row that held at the moment and was known."""
        days = {day for _, published in self.publications for day in published}
        for day in sorted(days, reverse=True):
            rows = self.day_as_known(day, known_at)
            if end_of(day) <= moment and player in rows:
                if ttl is not None and moment - end_of(day) > ttl:
                    return "expired", None, None
                value = rows[player]
                return ("null" if value is None else "present"), day, value
        return "missing", None, None
