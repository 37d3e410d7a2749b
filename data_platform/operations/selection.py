"""Which tables and days a person names.
Belongs here: words to contracts, bounds to days that exist. Not here: what is done with them (build, plan); Dagster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.lineage import upstream_of
from data_platform.core.contract.table import Table, contracts
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.settings import settings


def select_tables(selection: Sequence[str]) -> set[type[Table]]:
    """Tables named by key (`features/player_churn_features`), by name, or by group (`features`), and all they need.

    Nothing named selects everything. Raises PlatformError for a name that is none of these.
    """
    return upstream_of(named_tables(selection))


def named_tables(selection: Sequence[str]) -> set[type[Table]]:
    """Tables named by key, by name or by group; nothing named means all. Raises PlatformError as `select_tables`."""
    known = contracts()
    if not selection:
        return set(known.values())
    chosen: set[type[Table]] = set()
    for word in selection:
        found = {t for key, t in known.items() if word in (key, t.table_name(), t.table_group())}
        if not found:
            groups = sorted({t.table_group() for t in known.values()})
            meant = did_you_mean(word, [*known, *groups, *(t.table_name() for t in known.values())])
            raise PlatformError(
                f"There is no table or group called {word!r}.",
                f"{meant}Groups are {', '.join(groups)}; `data-platform status --all` lists all tables.",
            )
        chosen |= found
    return chosen


def days_between(first: dt.date | None, last: dt.date | None) -> tuple[str, ...]:
    """Partition keys from one day to the other, both included. Raises PlatformError when there are none."""
    begin, today = settings().first_day, today_utc()
    start, end = max(first or begin, begin), min(last or today, today)
    if start > end:
        raise PlatformError(
            f"There are no days from {first or begin} to {last or today}: partitions go from {begin} to {today}.",
            "Choose other days, or set DATA_PLATFORM_FIRST_DAY.",
        )
    return tuple((start + dt.timedelta(offset)).isoformat() for offset in range((end - start).days + 1))
