"""A request as a question: what is measured, by what, of which days and rows, in which order. Judged before anything is
read. Not here: which table answers (planning), answers."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Scope

from data_platform.core.contract.calendar import next_month
from data_platform.core.contract.queries import DAY, MONTH, Measure, Query
from data_platform.core.contract.table import Table
from data_platform.core.http.problems import Problem, quoted, unknown
from data_platform.core.http.tenants import Reach

FORMATS = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
"""Name in ?format= → media type of Accept and of the answer."""
MOST_DAYS = 3660
LIMIT, MOST_ROWS = 1_000, 10_000
MOST_SKIPPED = 10_000_000
MOST_VALUES = 200
LONGEST_VALUE = 512
PERIOD = ("from", "to", "month")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile("[0-9]{4}-[0-9]{2}")


@dataclass(frozen=True)
class Period:
    """Whole UTC days, both ends included."""

    first: dt.date
    last: dt.date

    def months(self) -> Period:
        """From the first day of its first month: where tables by month have its days."""
        return Period(self.first.replace(day=1), self.last)

    def is_months(self, today: dt.date) -> bool:
        """Whole months, or months up to today and beyond: what a table by month can answer."""
        ends = self.last >= today or (self.last + dt.timedelta(1)).day == 1
        return self.first.day == 1 and ends


@dataclass(frozen=True)
class Question:
    """What is asked of a query. Names are those of the declaration; values are whatever the client sent."""

    query: Query
    period: Period
    filters: Mapping[str, tuple[str, ...]]
    group_by: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    """(column, descending)."""
    limit: int = LIMIT
    offset: int = 0

    def filed(self, table: type[Table]) -> Period:
        """The days under which a table of the query has the rows of the period."""
        return self.period.months() if table in self.query.monthly else self.period


def asked(query: Query, scope: Scope, reach: Reach, today: dt.date) -> tuple[Question, str | None]:
    """The question of a request, and the format it names. Raises Problem."""
    given = _parameters(
        scope, ("group_by", "measures", *PERIOD, "order", "limit", "offset", "format", *query.filterable)
    )
    filters = _filters(query, given, reach)
    group_by = _names(given, "group_by", "dimension", [*query.dimensions, DAY, MONTH])
    known = query.measures_by_name
    measures = tuple(known[name] for name in _names(given, "measures", "measure", known) or query.shown)
    if query.currency and any(query.is_money(m) for m in measures) and query.currency not in group_by:
        group_by = (*group_by, query.currency)
    columns = [*group_by, *(measure.name for measure in measures)]
    order = tuple(_ordered(one, columns) for one in _single(given, "order").split(",") if one)
    limit, offset = _whole(given, "limit", LIMIT, 1, MOST_ROWS), _whole(given, "offset", 0, 0, MOST_SKIPPED)
    question = Question(query, _period(given, today), filters, group_by, measures, order, limit, offset)
    return question, _format(given)


def asked_rows(query: Query, scope: Scope, reach: Reach, today: dt.date) -> tuple[Question, str | None]:
    """The same of a request for all rows of a period. Raises Problem."""
    names = [name for name in query.filterable if name in query.rows.columns]
    given = _parameters(scope, (*PERIOD, "format", *names))
    return Question(query, _period(given, today), _filters(query, given, reach)), _format(given)


def asked_month(query: Query, scope: Scope, reach: Reach, today: dt.date) -> tuple[Question, str | None]:
    """The same of a request for a statement of one month, of one tenant or of all that may be seen. Raises Problem."""
    given = _parameters(scope, ("month", "format", query.tenant))
    if "month" not in given:
        raise Problem(422, "malformed-period", "A statement is of one month.", "Write month=2026-01.")
    return Question(query, _period(given, today), _filters(query, given, reach)), _format(given)


def _parameters(scope: Scope, known: Iterable[str]) -> dict[str, list[str]]:
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_VALUES)
    except ValueError:
        raise Problem(400, "malformed-query", "The query is not URL-encoded UTF-8, or has too many parts.") from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown(422, "parameter", name, known)
        if len(value) > LONGEST_VALUE:
            raise Problem(422, "too-long", f"A value of {name} has more than {LONGEST_VALUE} characters.")
        given.setdefault(name, []).append(value)
    return given


def _single(given: Mapping[str, list[str]], name: str) -> str:
    values = given.get(name, [""])
    if len(values) > 1:
        raise Problem(422, "repeated-parameter", f"{name} is given twice.")
    return values[0]


def _names(given: Mapping[str, list[str]], name: str, what: str, known: Iterable[str]) -> tuple[str, ...]:
    """Names separated by commas, each once. Raises Problem with near misses for one that does not exist."""
    names = [one.strip() for value in given.get(name, []) for one in value.split(",") if one.strip()]
    for one in names:
        if one not in known:
            raise unknown(422, what, one, known)
    return tuple(dict.fromkeys(names))


def _filters(query: Query, given: Mapping[str, list[str]], reach: Reach) -> dict[str, tuple[str, ...]]:
    """Dimension → the values that count, exactly as sent: no value is a pattern. Who sees some projects alone asks for
    these: so a table is chosen that tells them apart."""
    filters = {name: tuple(given[name]) for name in query.filterable if name in given}
    reach.require(filters.get(query.tenant, ()), filters.get(query.within_tenant or "", ()))
    if reach.projects is not None and query.within_tenant in query.filterable:
        filters.setdefault(query.within_tenant, reach.projects)
    return filters


def _ordered(text: str, columns: Sequence[str]) -> tuple[str, bool]:
    name = text.strip().removeprefix("-")
    if name not in columns:
        raise unknown(422, "column of the answer", name, columns)
    return name, text.strip().startswith("-")


def _whole(given: Mapping[str, list[str]], name: str, unless: int, least: int, most: int) -> int:
    text = _single(given, name) or str(unless)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        detail = f"{name} is {quoted(text)}; write a number from {least} to {most:,}."
        raise Problem(
            422, f"malformed-{name}", detail, "More sums come with offset, rows that are no sums with /export."
        )
    return int(text)


def _format(given: Mapping[str, list[str]]) -> str | None:
    found = _single(given, "format")
    if found and found not in (*FORMATS, "ndjson"):
        raise unknown(422, "format", found, (*FORMATS, "ndjson"))
    return found or None


def _period(given: Mapping[str, list[str]], today: dt.date) -> Period:
    """`month`, or `from` and `to`; without either the month that goes on."""
    month, first, last = (_single(given, name) for name in ("month", "from", "to"))
    if month and (first or last):
        raise Problem(422, "two-periods", "Both month and from/to are given.", "Leave one out.")
    if month:
        start = _date("month", f"{month}-01" if _MONTH.fullmatch(month) else month)
        return Period(start, next_month(start) - dt.timedelta(1))
    begin = _date("from", first) if first else today.replace(day=1)
    end = _date("to", last) if last else max(today, begin)
    if not dt.timedelta(0) <= end - begin < dt.timedelta(MOST_DAYS):
        detail = f"{begin} to {end} is no period of 1 to {MOST_DAYS:,} days."
        raise Problem(422, "malformed-period", detail, "Write from=2026-01-01&to=2026-01-31, both included.")
    return Period(begin, end)


def _date(name: str, text: str) -> dt.date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        found = dt.date.fromisoformat(text)
    except ValueError:
        shape = "2026-01" if name == "month" else "2026-01-31"
        raise Problem(422, "malformed-period", f"{name} is {quoted(text)}; write it as {shape}.") from None
    if not 1970 <= found.year < 9000:
        raise Problem(422, "malformed-period", f"{name} is {quoted(text)}, of no year from 1970 to 8999.")
    return found
