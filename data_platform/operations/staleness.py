"""Which days of which table are out of date, from Dagster's record of what was materialised after what.
Belongs here: the rule of staleness. Not here: running anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.lineage import computed_with, inputs_of, upstream_of
from data_platform.core.contract.received import ReceivedLines, sources_of_domain
from data_platform.core.contract.table import Days, Table, contracts
from data_platform.core.instance.materialisations import WHOLE, Materialisations
from data_platform.core.lake.store import Lake
from data_platform.core.quality.connected import connected
from data_platform.core.settings import settings

LONGEST_BRIDGE_DAYS = 31


class Reason(StrEnum):
    """Why a day is to be computed: it never was, an input was written after it, or its newest run failed."""

    MISSING = "missing"
    STALE = "stale"
    FAILED = "failed"


@dataclass(frozen=True)
class BuildStep:
    """Tables that are computed in one run, in an order in which each comes after what it needs."""

    tables: tuple[type[Table], ...]
    days: tuple[str, ...]
    """Partition keys, ascending, perhaps with gaps; empty where no table has partitions."""
    fewer: Mapping[type[Table], tuple[str, ...]] = field(default_factory=dict)
    """The days of those tables that are not computed on all of them."""

    def days_of(self, table: type[Table]) -> tuple[str, ...]:
        """None of a table without partitions."""
        return self.fewer.get(table, self.days) if table.partition else ()

    @property
    def partitions(self) -> int:
        return sum(max(1, len(self.days_of(table))) for table in self.tables)

    def within(self, days: Collection[str], tables: Sequence[type[Table]]) -> BuildStep | None:
        """What is to be done of these tables on these of its days; None where that is nothing."""
        return build_step({table: [day for day in self.days_of(table) if day in days] for table in tables})


def build_step(wanted: Mapping[type[Table], Sequence[str]]) -> BuildStep | None:
    """A step of tables in build order, each over days of its own, in one run; None without any.

    Tables without days are in it too, so that SQL models of both kinds start one dbt. A run over scattered days costs
    their number, not their span: runs over ranges took 241 of them and 25 minutes where everything took 3 and 10.
    """
    wanted = {table: days for table, days in wanted.items() if days}
    if not wanted:
        return None
    days = tuple(sorted({day for own in wanted.values() for day in own if day != WHOLE}))
    fewer = {table: tuple(own) for table, own in wanted.items() if table.partition and len(own) < len(days)}
    return BuildStep(tuple(wanted), days, fewer)


def in_build_order(tables: Iterable[type[Table]]) -> list[type[Table]]:
    """One table per step, each after its inputs; tables that come from outside are left out."""
    wanted = {computed_with(table).key: computed_with(table) for table in tables}
    ordered: dict[str, type[Table]] = {}

    def visit(table: type[Table]) -> None:
        for needed in inputs_of(table):
            visit(needed.table)
        if table.key in wanted and inputs_of(table):
            ordered.setdefault(table.key, table)

    for _, table in sorted(wanted.items()):
        visit(table)
    return list(ordered.values())


def ever_fed(lake: Lake, tables: Iterable[type[Table]]) -> set[type[Table]]:
    """The tables without those that nothing was ever received for, by themselves or by their domain: a game without a
    shop need not wait for the shop's SQL. Tables that depend on nothing from outside are kept."""
    there = {table for table in contracts().values() if issubclass(table, ReceivedLines) and lake.exists(table)}

    def fed(table: type[Table]) -> bool:
        outside = {needed for needed in upstream_of([table]) if issubclass(needed, ReceivedLines)}
        return not outside or bool(outside & there)

    return {table for table in connected(lake, tables) if fed(table)}


def first_received_day(lake: Lake, tables: Iterable[type[Table]]) -> str | None:
    """The first day of anything received that the tables are computed from; None where nothing was, or they depend on
    nothing from outside."""
    outside = [needed for needed in upstream_of(tables) if issubclass(needed, ReceivedLines) and lake.exists(needed)]
    return min((day for table in outside for day in lake.partitions(table)["partition"] if day), default=None)


def stale_days(history: Materialisations, tables: Iterable[type[Table]]) -> dict[type[Table], list[str]]:
    """Per table, ascending: days with an input day that was written after them, or that will be by this very build.

    No day after the newest one that something was received for: nothing is known of it yet.
    """
    return {table: list(days) for table, days in days_to_compute(history, tables).items()}


def days_to_compute(
    history: Materialisations,
    tables: Iterable[type[Table]],
    failed: Mapping[type[Table], Collection[str]] | None = None,
    within: Collection[str] | None = None,
) -> dict[type[Table], dict[str, Reason]]:
    """The stale days and those that failed, with what depends on them, each with its reason; of tables with partitions
    only days `within`.

    What depends on a day of a table that is written only when it changed is not out of date before that day was
    written: look again when it was computed.
    """
    recorded: dict[type[Table], Mapping[str, int]] = {}

    def record(table: type[Table]) -> Mapping[str, int]:
        if table not in recorded:
            recorded[table] = _newest_materialisations(history, table)
        return recorded[table]

    ordered = in_build_order(tables)
    existing = received_days(history, ordered)
    stale: dict[type[Table], dict[str, Reason]] = {}
    for table in ordered:
        if (sources := sources_of_domain(table)) and not any(map(record, sources)):
            continue  # not there, though tables of other domains that it reads are
        own = history.confirmed(table) if table.only_changed else record(table)
        needs: dict[str, int] = {}
        for needed in inputs_of(table):
            surely = () if needed.table.only_changed else stale.get(needed.table, ())
            written = dict(record(needed.table)) | dict.fromkeys(surely, _NEVER_OLDER)
            for day, newest in _newest_by_dependent_day(table, needed, written, existing).items():
                needs[day] = max(needs.get(day, 0), newest)
        broken = set((failed or {}).get(table, ()))
        outdated = sorted(broken | {day for day, newest in needs.items() if newest > own.get(day, 0)})
        if table.partition:
            outdated = _bridged([day for day in outdated if within is None or day in within], set(own))
        stale[table] = {
            day: Reason.FAILED if day in broken else Reason.STALE if day in own else Reason.MISSING for day in outdated
        }
    return stale


def received_days(history: Materialisations, tables: Iterable[type[Table]]) -> set[str]:
    """Every day up to the newest one that something was received for, of all that the tables take from outside.

    What the platform records of itself (freshness, verdicts) is dated today and says nothing of the days of others.
    """
    sources = {needed.table for table in tables for needed in inputs_of(table) if not inputs_of(needed.table)}
    received = {source for source in sources if issubclass(source, ReceivedLines)} or sources
    newest = max((day for table in received for day in _newest_materialisations(history, table)), default="")
    last = min(newest, today_utc().isoformat())
    first = settings().first_day
    return {first.isoformat(), *_days_between(first.isoformat(), last), last} if first.isoformat() <= last else set()


def days_downstream(
    written: Mapping[type[Table], Collection[str]],
    tables: Iterable[type[Table]],
    existing: set[str],
    surely: bool = False,
) -> dict[type[Table], set[str]]:
    """Which existing days of the tables depend on written days, directly or through other tables; the written days
    themselves only where they also depend on others. Tables without any are left out; so is, where asked for what
    `surely` depends, what does only if a table that is written when it changed did change."""
    reached: dict[type[Table], set[str]] = {}
    for table in in_build_order(tables):
        for needed in inputs_of(table):
            if surely and needed.table.only_changed:
                continue
            source = computed_with(needed.table)
            days = {*written.get(source, ()), *written.get(needed.table, ()), *reached.get(source, ())}
            found = _newest_by_dependent_day(table, needed, dict.fromkeys(days, 1), existing)
            if found:
                reached.setdefault(table, set()).update(found)
    return reached


def _bridged(days: list[str], computed: set[str]) -> list[str]:
    """The days, and the short gaps between them that were never computed: an empty day costs milliseconds, a further
    run costs a second."""
    bridged = days[:1]
    for before, after in pairwise(days):
        gap = _days_between(before, after)
        if len(gap) <= LONGEST_BRIDGE_DAYS and not computed.intersection(gap):
            bridged += gap
        bridged.append(after)
    return bridged


def _days_between(before: str, after: str) -> list[str]:
    start, end = dt.date.fromisoformat(before), dt.date.fromisoformat(after)
    return [(start + dt.timedelta(offset)).isoformat() for offset in range(1, (end - start).days)]


_NEVER_OLDER = 1 << 62


def _newest_materialisations(history: Materialisations, table: type[Table]) -> Mapping[str, int]:
    """None of a journal: what is appended to it all day makes no report of it stale, the clock asks for that."""
    return {} if table.journal else history.newest(table)


def _newest_by_dependent_day(
    table: type[Table], needed: Days, written: Mapping[str, int], existing: set[str]
) -> dict[str, int]:
    """For each day of the table that depends on a written input day: the newest of those writes."""
    if table.partition is None or needed.table.partition is None:
        return {WHOLE: max(written.values())} if written and table.partition is None else {}
    newest: dict[str, int] = {}
    if needed.first is None:
        # Every day from `last` days before it on depends on it: carry the newest write forward once, not once per day.
        since = {(dt.date.fromisoformat(day) - dt.timedelta(needed.last)).isoformat(): day for day in written}
        carried = 0
        for day in sorted(existing | since.keys()):
            carried = max(carried, written.get(since.get(day, ""), 0))
            if day in existing and carried:
                newest[day] = carried
        return newest
    for day, moment in written.items():
        start = dt.date.fromisoformat(day)
        for offset in range(-needed.last, -needed.first + 1):
            dependent = (start + dt.timedelta(offset)).isoformat()
            if dependent in existing:
                newest[dependent] = max(newest.get(dependent, 0), moment)
    return newest
