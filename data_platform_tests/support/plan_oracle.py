"""The backfill plan, day by day, from the order of writes and the declared windows alone: naive, sharing no code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping

from data_platform.core.contract.lineage import inputs_of, upstream_of
from data_platform.core.contract.received import ReceivedLines
from data_platform.core.contract.table import Table, contracts
from data_platform.core.discovery import know_assets
from data_platform.operations.staleness import in_build_order
from data_platform_tests.support.homes import FIRST_DAY


def day(number: int) -> str:
    return str(FIRST_DAY + dt.timedelta(number))


def gameplay_tables() -> list[type[Table]]:
    """The tables that are computed from what lands, and these: what an hour of the platform is about."""
    know_assets()  # what is computed from what
    groups = ("clean", "gameplay", "features", "commerce")
    wanted = [t for t in contracts().values() if t.table_group() in groups and not t.journal]
    return sorted(upstream_of(wanted), key=lambda t: t.key)


def domain(table: type[Table]) -> str:
    return ".".join(table.__module__.split(".")[:3])


def is_there(table: type[Table], received: Collection[type[Table]]) -> bool:
    """Whether its domain, where it receives anything, received some of this."""
    sources = [t for t in gameplay_tables() if domain(t) == domain(table) and issubclass(t, ReceivedLines)]
    return not sources or any(source in received for source in sources)


def needed_days(table: type[Table], number: int) -> Iterator[tuple[type[Table], int]]:
    """Every input day (by number) of one day, one by one."""
    for needed in inputs_of(table):
        for offset in range(-40 if needed.first is None else needed.first, needed.last + 1):
            yield needed.table, number + offset


def oracle(written: Mapping[tuple[type[Table], int], int], last_day: int, within: range) -> dict[str, dict[str, str]]:
    """Day by day, from the order of writes alone."""
    plan: dict[type[Table], dict[int, str]] = {}
    for table in in_build_order(gameplay_tables()):
        if table.partition is None or not is_there(table, {written_table for written_table, _ in written}):
            continue
        due: dict[int, str] = {}
        for number in range(last_day + 1):
            own = written.get((table, number))
            inputs = list(needed_days(table, number))
            newer = any(written[key] > (own or 0) for key in inputs if key in written)
            if number in within and (newer or any(n in plan.get(source, {}) for source, n in inputs)):
                due[number] = "stale" if own else "missing"
        for number in range(last_day + 1):  # short gaps in which nothing was ever computed go along
            before, after = [n for n in due if n < number], [n for n in due if n > number]
            if number not in due and before and after:
                gap = range(max(before) + 1, min(after))
                if not any((table, n) in written for n in gap):
                    due[number] = "gap"
        plan[table] = {n: "missing" if why == "gap" else why for n, why in sorted(due.items())}
    return {table.key: {day(n): why for n, why in days.items()} for table, days in plan.items() if days}
