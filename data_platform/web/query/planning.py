"""Which table answers which measures of a question: the one with the fewest rows among those that can.
Not here: computing anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from data_platform.core.contract.queries import DAY, MONTH, Measure, Sum
from data_platform.core.contract.table import Table
from data_platform.core.http.problems import Problem
from data_platform.web.query.questions import Question
from data_platform.web.query.tables import TenantTables


@dataclass(frozen=True)
class Part:
    """Measures that one table answers."""

    table: type[Table]
    measures: tuple[Measure, ...]


def plan(question: Question, tables: TenantTables, today: dt.date) -> list[Part]:
    """The parts of the answer: sums from one table where one has all of them. Raises Problem 422 for what none has."""
    sums = tuple(measure for measure in question.measures if isinstance(measure, Sum))
    together = able(question, sums, today)
    wanted = [*([sums] if sums and together else [(one,) for one in sums])]
    wanted += [(measure,) for measure in question.measures if not isinstance(measure, Sum)]
    return [Part(_cheapest(question, measures, tables, today), measures) for measures in wanted]


def able(question: Question, measures: Sequence[Measure], today: dt.date) -> list[type[Table]]:
    """Tables that have everything that these measures of the question need."""
    needed = {name for measure in measures for name in measure.needed}
    needed |= {name for name in (*question.group_by, *question.filters) if name not in (DAY, MONTH)}
    query = question.query
    by_month = question.period.is_months(today) and DAY not in question.group_by
    known = [table for table in query.every_table if by_month or query.days in table.columns]
    whole = any(isinstance(measure, Sum) for measure in measures)
    return [table for table in known if needed <= {*table.columns} and not (whole and table in query.partial)]


def _cheapest(question: Question, measures: tuple[Measure, ...], tables: TenantTables, today: dt.date) -> type[Table]:
    found = able(question, measures, today)
    if not found:
        raise _unanswerable(question, measures, today)
    built = [table for table in found if tables.version(table) is not None] or found
    return min(built, key=lambda table: tables.row_count(table, question.filed(table)))


def _unanswerable(question: Question, measures: tuple[Measure, ...], today: dt.date) -> Problem:
    names = ", ".join(measure.name for measure in measures)
    by = ", ".join([*question.group_by, *question.filters])
    has = sorted(
        {
            name
            for table in question.query.every_table
            if {needed for measure in measures for needed in measure.needed} <= {*table.columns}
            for name in question.query.dimensions
            if name in table.columns
        }
    )
    remedy = f"It is known by {', '.join(has)}"
    if not question.period.is_months(today) or DAY in question.group_by:
        remedy += ", perhaps for whole months alone (month=2026-01)"
    return Problem(422, "not-kept-together", f"No table has {names} by {by or 'day'}.", f"{remedy}.")
