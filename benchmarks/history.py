"""A year of history: what one more day costs late in it, and what a backfill of the whole year costs.
Not here: large days."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench import Bench, Simulated
from benchmarks.pipeline import CHURN
from benchmarks.table import Row

PLAYERS, DAYS = 2_000, 365
MANY_PLAYERS = 10_000
"""For the backfill: what Dagster's records of a day cost is the same for few players as for many."""
WEEK = 7
EARLY, LATE = 40, DAYS - WEEK + 1
"""First of the seven days that are measured one by one, so that each weekday counts once; days count from 1."""


class History:
    """A year that arrives in pieces: a home that is built up to a day and then goes on."""

    def __init__(self, bench: Bench, players: int = PLAYERS) -> None:
        self.bench = bench
        self.players = bench.scaled(players)
        self.simulated: Simulated = bench.simulated(self.players, DAYS)
        self.home: Path = bench.fresh_home()
        self.built = 0

    def build_to(self, day: int) -> float:
        """Land and build everything up to the day, in a fresh process; returns the seconds without its imports."""
        days = self.simulated.days[self.built : day]
        if not days:
            return 0
        self.simulated.land(self.home, days)
        title = f"day {day}" if len(days) == 1 else f"days {self.built + 1} to {day}"
        first, last = str(days[0]), str(days[-1])
        done = self.bench.run(title, "build", self.home, select=[CHURN], first=first, last=last)
        self.built = day
        return float(done.result["seconds"])

    def week(self, first: int) -> list[float]:
        """The seconds of each of seven days, one at a time, after everything before them."""
        self.build_to(first - 1)
        return [self.build_to(day) for day in range(first, first + WEEK)]

    def rows(self, first: int) -> str:
        """How many events the days of a week have."""
        dates = [str(day) for day in self.simulated.days[first - 1 : first - 1 + WEEK]]
        return f"{sum(self.simulated.truth.dates[date].clean for date in dates) / WEEK:,.0f} events"


def flat(bench: Bench) -> Iterator[Row]:
    history = bench.once(History)
    early, late = median(history.week(EARLY)), median(history.week(LATE))
    yield Row(
        f"one more day from landing to features at day {DAYS} ({history.rows(LATE)} a day), against day {EARLY} "
        f"({history.rows(EARLY)}); medians of {WEEK}",
        f"{late:.2f} s",
        f"{early:.2f} s",
        f"{late / early:.2f}",
        "≤ 1.2",
        late / early <= 1.2,
    )


def backfill(bench: Bench) -> Iterator[Row]:
    many = History(bench, MANY_PLAYERS)
    done = _backfilled(many)
    yield Row(
        f"runs to backfill {DAYS} days of all feature tables, looking for new files included",
        str(done["runs"]),
        goal="≤ 4",
        met=done["runs"] <= 4,
    )
    ratio = done["seconds"] / done["bare_seconds"]
    yield Row(
        f"… against computing and writing alone, {done['rows']:,} rows of {many.players:,} players",
        f"{done['seconds']:.1f} s",
        f"{done['bare_seconds']:.1f} s",
        f"{ratio:.2f}",
        "≤ 2",
        ratio <= 2,
    )
    few = bench.once(History)
    done = _backfilled(few)
    yield Row(
        f"… {done['rows']:,} rows of {few.players:,} players",
        f"{done['seconds']:.1f} s",
        f"{done['bare_seconds']:.1f} s",
        f"{done['seconds'] / done['bare_seconds']:.2f}",
    )


def _backfilled(history: History) -> dict[str, Any]:
    history.build_to(DAYS)
    first, last = history.simulated.days[0], history.simulated.days[-1]
    title = f"backfill {DAYS} days of features, {history.players:,} players"
    done = history.bench.run(title, "backfill_features", history.home, first=str(first), last=str(last)).result
    tables = 3
    if done["partitions"] < tables * DAYS:
        raise AssertionError(f"the backfill made {done['partitions']} partitions, not {tables * DAYS}")
    return dict(done)
