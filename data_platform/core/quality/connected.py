"""Sources that may not be there: a game may have no shop, a shop no Stripe. Tables of a domain that never received
anything are not computed; what is compared with an optional source is judged from its first day on.
Not here: the comparison (SQL), how fresh a source is (observability/freshness)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from data_platform.core.contract.received import ReceivedLines, sources_of_domain
from data_platform.core.contract.table import Table, contracts
from data_platform.core.lake.store import Lake


def connected(lake: Lake, tables: Iterable[type[Table]]) -> set[type[Table]]:
    """The tables whose domain received something or receives nothing."""
    there: dict[type[Table], bool] = {}

    def exists(source: type[Table]) -> bool:
        if source not in there:
            there[source] = lake.exists(source)
        return there[source]

    sources = {table: sources_of_domain(table) for table in tables}
    return {table for table, own in sources.items() if not own or any(map(exists, own))}


def since_variables() -> dict[str, type[Table]]:
    """Name of the SQL variable with the first day of each optional table."""
    received = [table for table in contracts().values() if issubclass(table, ReceivedLines) and table.optional]
    return {f"{table.table_name()}_since": table for table in received}


def connected_since(lake: Lake, table: type[Table]) -> dt.date | None:
    """The first day that something was received of; None when nothing ever was."""
    first = lake.partitions(table)["partition"].min()
    return dt.date.fromisoformat(str(first)) if first else None


def newly_judged(lake: Lake, table: type[Table], written: Mapping[str, int]) -> set[str]:
    """Days of anything received that are judged from now on, because a batch (day → rows) brought the first day of an
    optional table: what was computed of them did not ask for it. Call it after the commit; safe to repeat."""
    if not (issubclass(table, ReceivedLines) and table.optional) or not written:
        return set()
    rows = lake.rows(table)
    first = min(rows)
    if rows[first] != written.get(first):
        return set()
    received = [other for other in contracts().values() if issubclass(other, ReceivedLines) and other.partition]
    return {day for other in received for day in lake.partitions(other)["partition"] if day > first}
