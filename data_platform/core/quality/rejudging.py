"""A table judged as it stands: what a run of checks alone does.
Belongs here: reading published rows back and asking every rule of them. Not here: judging what is about to be published
(assets), Dagster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.core.quality.profile import is_profiled, look
from data_platform.core.quality.profile_store import judge_by_history
from data_platform.core.quality.table_rules import judge_together
from data_platform.core.quality.validation import WHOLE_TABLE, Verdict, Verdicts, judge

Tests = Callable[[Sequence[dt.date]], Iterable[Verdict]]


def judge_again(
    lake: Lake, table: type[Table], slices: Iterable[Sequence[dt.date]], tests: Tests | None = None
) -> Verdicts:
    """Every verdict on the published rows of the days, slice by slice (an empty one is a table without days); `tests`
    gives those that the contract does not know. Nothing is written."""
    verdicts = Verdicts()
    for days in slices:
        frame = lake.scan(table, *((days[0], days[-1]) if days else ())).collect()
        found = judge(table, frame, [day.isoformat() for day in days] or [WHOLE_TABLE])
        if table.all_table_rules():
            found.sort_in(judge_together(table, frame.lazy(), lake, found.rows))
        if is_profiled(table):
            found.sort_in(judge_by_history(lake, table, [look(table, frame)], days).verdicts)
        found.sort_in(tests(days) if tests else ())
        verdicts.add(found)
    return verdicts
