"""What one dbt run reads and computes: handed to the DuckDB plugin, which dbt creates by name, through this module.
Belongs here: the days of a run, its results. Not here: starting dbt, storing results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from data_platform.core.contract import Days, Table
from data_platform.core.lake import Lake
from data_platform.core.validation import Verdict

LONG_AGO, FAR_AHEAD = dt.date(1, 1, 1), dt.date(9999, 12, 31)


@dataclass(frozen=True)
class Computed:
    """A model's rows of the run's days, and what dbt's tests said of them, by day."""

    table: type[Table]
    frame: pl.DataFrame
    verdicts: Sequence[Verdict]


@dataclass
class Session:
    """One dbt run over consecutive days (none: tables without partitions)."""

    lake: Lake
    days: Sequence[dt.date]
    today: dt.date
    reads: Mapping[str, Days | None]
    """Table key → the days around each computed day that are shown to SQL; None: the table as it stands."""
    alone: bool = True
    """Whether models are computed one by one. Otherwise later models also see other days of earlier ones."""
    computed: dict[str, Computed] = field(default_factory=dict)

    @property
    def first_day(self) -> dt.date:
        return self.days[0] if self.days else LONG_AGO

    @property
    def last_day(self) -> dt.date:
        return self.days[-1] if self.days else FAR_AHEAD

    def shown(self, table: type[Table]) -> tuple[dt.date | None, dt.date | None]:
        """First and last day of a table that SQL may see; None is without bound."""
        needed = self.reads[table.key]
        if needed is None or table.partition is None or not self.days:
            return None, None
        first = None if needed.first is None else self.first_day + dt.timedelta(needed.first)
        return first, self.last_day + dt.timedelta(needed.last)


_CURRENT: list[Session] = []


def current() -> Session | None:
    """The session of this process; None when dbt was started from a shell."""
    return _CURRENT[-1] if _CURRENT else None


@contextmanager
def entered(session: Session) -> Iterator[Session]:
    _CURRENT.append(session)
    try:
        yield session
    finally:
        _CURRENT.remove(session)
