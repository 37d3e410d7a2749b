"""One dbt model computed for some days: its compiled SQL and its tests, run by a DuckDB in memory over lake tables.
Belongs here: what SQL is shown, in which order it runs, what its failures mean. Not here: dbt (compiled), Dagster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from data_platform.core.contract.table import Days, Severity, Table, contract
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.quality.connected import connected_since, since_variables
from data_platform.core.quality.validation import Status, Verdict
from data_platform.warehouse.compiled import Node, compiled_project, one_line
from data_platform.warehouse.relations import expose, fetched, quoted, quoted_relation
from data_platform.warehouse.verdicts import Tested, verdicts_of

LONG_AGO, FAR_AHEAD = dt.date(1, 1, 1), dt.date(9999, 12, 31)


@dataclass(frozen=True)
class Computed:
    """A model's rows of the run's days, and what dbt's tests said of them, by day."""

    table: type[Table]
    frame: pl.DataFrame
    verdicts: Sequence[Verdict]


def tests_again(
    table: type[Table], inputs: Sequence[Days], days: Sequence[dt.date], today: dt.date, lake: Lake
) -> Sequence[Verdict]:
    """What dbt's tests of a model say of the rows that the lake holds; the model is not computed."""
    return compute(table, inputs, days, today, lake, as_stored=True).verdicts


def compute(
    table: type[Table],
    inputs: Sequence[Days],
    days: Sequence[dt.date],
    today: dt.date,
    lake: Lake,
    as_stored: bool = False,
) -> Computed:
    """The rows of a table's days (none: the whole table) from its dbt model, and the verdicts of the model's tests.

    SQL sees of each input exactly the days that are declared; tables that only tests look at, as they stand. Nothing is
    written. With `as_stored` the rows are those of the lake instead of the model's.
    Raises PlatformError when the model fails, or reads a table that `inputs` does not name.
    """
    project = compiled_project()
    model = project.model(table)
    declared = {needed.table.key: needed for needed in inputs}
    read, views = project.reached([model])
    if undeclared := sorted(read.keys() - declared.keys()):
        raise PlatformError(
            f"The dbt model {model.name} reads {', '.join(undeclared)}, which its asset does not declare.",
            "Name the table and its days among the inputs of the asset.",
        )
    tests = project.tests(model)
    beside, views_of_tests = project.reached(tests, but=model.name)
    with duckdb.connect() as connection:
        set_days(connection, days[0] if days else LONG_AGO, days[-1] if days else FAR_AHEAD, today)
        set_first_days(connection, lake, [model.sql, *(test.sql for test in tests)])
        shown: Mapping[str, Days | None] = {**dict.fromkeys(beside), **declared}
        for key, needed in shown.items():
            expose(connection, lake, contract(key), *_bounds(table, needed, days))
        for view in views:
            _run(connection, view, f"CREATE VIEW {_relation(connection, view)} AS {view.sql}")
        if as_stored:
            expose(connection, lake, table, *((days[0], days[-1]) if days else (None, None)))
        else:
            _run(connection, model, f"CREATE TABLE {_relation(connection, model)} AS {model.sql}")
        frame = fetched(connection, quoted_relation(table), table)
        known = {view.name for view in views}
        for view in (view for view in views_of_tests if view.name not in known):
            _run(connection, view, f"CREATE VIEW {_relation(connection, view)} AS {view.sql}")
        verdicts = [v for test in tests for v in verdicts_of(_tested(connection, test), table, frame, days)]
    return Computed(table, frame, verdicts)


def compiled_sql(table: type[Table]) -> str:
    """A model's SQL without Jinja, as DuckDB gets it; days are the variables first_day, last_day and today."""
    return compiled_project().model(table).sql


def tables_read(table: type[Table]) -> set[str]:
    """Keys of the tables that a model's SQL reads, also through views."""
    project = compiled_project()
    return set(project.reached([project.model(table)])[0])


def set_days(connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date, today: dt.date) -> None:
    """The days of a run. DuckDB variables, not dbt vars, so that a model's SQL is the same every day."""
    connection.execute("SET TimeZone = 'UTC'")
    for name, day in {"first_day": first, "last_day": last, "today": today}.items():
        connection.execute(f"SET VARIABLE {name} = DATE '{day}'")


def set_first_days(connection: duckdb.DuckDBPyConnection, lake: Lake, sql: Iterable[str]) -> None:
    """The first days of the optional tables that the SQL asks for; null when nothing was ever received."""
    asked = "".join(sql)
    for name, table in since_variables().items():
        if name in asked:
            first = connected_since(lake, table)
            connection.execute(f"SET VARIABLE {name} = {f'DATE {str(first)!r}' if first else 'NULL::DATE'}")


def _bounds(table: type[Table], needed: Days | None, days: Sequence[dt.date]) -> tuple[dt.date | None, dt.date | None]:
    """First and last day of an input that SQL may see; None is without bound."""
    if needed is None or needed.table.partition is None or not days:
        return None, None
    first = None if needed.first is None else days[0] + dt.timedelta(needed.first)
    return first, days[-1] + dt.timedelta(needed.last)


def _relation(connection: duckdb.DuckDBPyConnection, node: Node) -> str:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(node.schema)}")
    return f"{quoted(node.schema)}.{quoted(node.name)}"


def _run(connection: duckdb.DuckDBPyConnection, node: Node, statement: str) -> None:
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        raise PlatformError(
            f"dbt: {node.name} ({node.path}) fails: {one_line(error)}", "Correct the model, then run again."
        ) from None


def _tested(connection: duckdb.DuckDBPyConnection, test: Node) -> Tested:
    """What dbt would say of the test: https://docs.getdbt.com/reference/resource-configs/severity."""
    limit = f" LIMIT {test.limit}" if test.limit is not None else ""
    asked = f"SELECT {test.fail_calc} {test.warn_if}, {test.fail_calc} {test.error_if} FROM ({test.sql}{limit})"  # noqa: S608
    severity = Severity(test.severity)
    try:
        warns, fails = connection.execute(asked).fetchall()[0]
        failing = connection.sql(test.sql).pl() if warns or fails else None
    except duckdb.Error as error:
        return Tested(test.name, severity, Status.ERRORED, message=one_line(error))
    blocks = fails and severity == Severity.ERROR
    if not blocks and not warns:
        return Tested(test.name, severity, Status.PASSED)
    return Tested(test.name, severity if blocks else Severity.WARNING, Status.FAILED, failing)
