"""Moments as people and tools write them, in UTC. Not here: how a moment is shown."""

from __future__ import annotations

import datetime as dt


def read_moment(text: str) -> dt.datetime:
    """`2024-03-01`, `2024-03-01T10:00` or with a zone → that moment in UTC, which is meant where no zone is named.
    Raises ValueError for what is none, also for one that in UTC lies outside the years 1 to 9999."""
    return in_utc(dt.datetime.fromisoformat(text))


def in_utc(moment: dt.datetime) -> dt.datetime:
    """The same moment in UTC; one without a zone is in UTC already. Raises ValueError outside the years 1 to 9999."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError(f"{moment.isoformat()} is outside the years 1 to 9999 in UTC") from error
