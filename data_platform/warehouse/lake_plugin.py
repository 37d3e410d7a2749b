"""The dbt-duckdb plugin: lake tables in, a run's days out, dbt's test results as verdicts.
dbt creates it by name (dbt/profiles.yml) in the process that runs dbt. Not here: starting dbt, Dagster."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import uuid
from collections.abc import Iterable
from typing import Any

import duckdb
import polars as pl
from dbt.adapters.duckdb.plugins import BasePlugin

from data_platform.core.contract import Severity, Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake import configured_lake
from data_platform.core.partitions import today_utc
from data_platform.core.validation import SAMPLE_ROWS, WHOLE_TABLE, Status, Verdict
from data_platform.warehouse.relations import expose, fetched, quoted_relation
from data_platform.warehouse.session import Computed, Session, current

FROM_VARIABLE, TO_VARIABLE = "DATA_PLATFORM_DBT_FROM", "DATA_PLATFORM_DBT_TO"
PUBLISHED = "{name}__published"
"""Days of a table that a run does not compute, beside the relation that has all of them."""

_STATUS = {"pass": Status.PASSED, "fail": Status.FAILED, "warn": Status.FAILED, "error": Status.ERRORED}
_SEVERITY = {"error": Severity.ERROR, "warn": Severity.WARNING}


class Plugin(BasePlugin):
    """Called by dbt-duckdb and by the macros of dbt/macros; `session` says what a run reads and where results go."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        found = current()
        self.from_shell = found is None
        self.session = found or _session_of_the_shell(plugin_config.get("contracts", ()))

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        self.connection = conn
        conn.execute("SET GLOBAL TimeZone = 'UTC'")
        for key in self.session.reads:
            table = contracts()[key]
            expose(conn, self.session.lake, table, *self.session.shown(table))

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        # DuckDB variables, not dbt vars: the SQL stays the same every day, so dbt never parses again because of it.
        days = {"first_day": self.session.first_day, "last_day": self.session.last_day, "today": self.session.today}
        for name, day in days.items():
            cursor.execute(f"SET VARIABLE {name} = DATE '{day}'")

    def store(self, target_config: Any) -> None:
        """`window`: a model's days are computed, show them under its name. `finish`: all models and tests are done."""
        config = target_config.config
        if config["step"] == "window":
            self._show(_table_of(config["model"]), str(target_config.relation))
        else:
            self._finish(list(config["results"]))

    def _show(self, table: type[Table], window: str) -> None:
        relation, rows = quoted_relation(table), f"SELECT * FROM {window}"  # noqa: S608
        if not self.session.alone and table.partition:
            name = PUBLISHED.format(name=table.table_name())
            expose(self.connection, self.session.lake, table, name=name)
            rows += (
                f" UNION ALL BY NAME SELECT * FROM {quoted_relation(table, name)}"  # noqa: S608
                f" WHERE {table.partition} NOT BETWEEN getvariable('first_day') AND getvariable('last_day')"
            )
        self.connection.execute(f"CREATE OR REPLACE VIEW {relation} AS {rows}")

    def _finish(self, results: list[Any]) -> None:
        done = [r for r in results if r.node.resource_type == "model" and str(r.status) == "success"]
        for result in done:
            if result.node.config.materialized != "delta":
                continue
            table = _table_of(result.node)
            frame = fetched(self.connection, _window_of(result.node), table)
            verdicts = [v for r in results if judges(r.node, result.node) for v in self._verdicts(r, table, frame)]
            self.session.computed[table.key] = Computed(table, frame, verdicts)
        if self.from_shell:
            _publish(self.session)

    def _verdicts(self, result: Any, table: type[Table], frame: pl.DataFrame) -> list[Verdict]:
        """One verdict per day (or one of the whole table) from a dbt test; what it found lies in its own table."""
        node = result.node
        days = [str(day) for day in self.session.days] if table.partition else [WHOLE_TABLE]
        rows = dict.fromkeys(days, 0)
        if table.partition:
            rows |= {str(day): count for day, count in frame[table.partition].value_counts().iter_rows()}
        else:
            rows[WHOLE_TABLE] = len(frame)
        status = _STATUS.get(str(result.status), Status.NOT_JUDGED)
        severity = _SEVERITY[str(node.config.severity).lower()]
        failing = self.connection.sql(f"SELECT * FROM {node.relation_name}").pl() if status == Status.FAILED else None  # noqa: S608
        verdicts = []
        for day in days:
            sample, found = _failing_of(failing, table, day)
            verdicts.append(
                Verdict(
                    node.name,
                    severity,
                    day,
                    found,
                    rows[day],
                    sample,
                    status if status != Status.FAILED or found else Status.PASSED,
                    message=str(result.message)[:500] if status in (Status.ERRORED, Status.NOT_JUDGED) else None,
                )
            )
        return verdicts


def judges(test: Any, model: Any) -> bool:
    """Whether a dbt test is one of a model: a generic test of the model it is attached to, a singular one of the model
    its config names (`meta={'judges': 'fct_orders'}`)."""
    if test.resource_type != "test":
        return False
    attached = getattr(test, "attached_node", None)
    return bool(attached == model.unique_id or test.config.meta.get("judges") == model.name)


def _failing_of(failing: pl.DataFrame | None, table: type[Table], day: str) -> tuple[tuple[dict[str, Any], ...], int]:
    """Keys of some failing rows of a day, and how many there are; rows that name no day count for every day."""
    if failing is None:
        return (), 0
    if table.partition and table.partition in failing.columns:
        failing = failing.filter(pl.col(table.partition).cast(pl.String) == day)
    named = [name for name in table.primary_key if name in failing.columns] or failing.columns[:5]
    return tuple(failing.head(SAMPLE_ROWS).select(named).to_dicts()), len(failing)


def _table_of(model: Any) -> type[Table]:
    """The contract of a dbt model, which has the same name."""
    schema, name = (model["schema"], model["name"]) if isinstance(model, dict) else (model.schema, model.name)
    table = contracts().get(f"{schema}/{name}")
    if table is None:
        raise PlatformError(
            f"The dbt model {name} has no contract {schema}/{name}.",
            "Declare one beside the others, and an asset for it; or materialise the model as a view.",
        )
    return table


def _window_of(model: Any) -> str:
    return f'"{model.schema}"."{model.name}__window"'


def _session_of_the_shell(modules: Iterable[str]) -> Session:
    """All known tables, and the days of two environment variables: yesterday and today when they are not set."""
    for module in modules:
        importlib.import_module(module)
    today = today_utc()
    try:
        first = dt.date.fromisoformat(os.environ.get(FROM_VARIABLE, str(today - dt.timedelta(days=1))))
        last = dt.date.fromisoformat(os.environ.get(TO_VARIABLE, str(today)))
    except ValueError as error:
        raise PlatformError(
            f"{FROM_VARIABLE} or {TO_VARIABLE} is no day: {error}.", "Write it as 2026-01-31."
        ) from None
    days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
    reads = {key: table.until() for key, table in contracts().items() if not table.journal}
    return Session(configured_lake(), days, today, reads, alone=False)


def _publish(session: Session) -> None:
    """Publish what a run from the shell computed, judged and recorded like the work of an asset.

    Raises PlatformError naming the tables of which days were refused."""
    from data_platform.core import verdict_ledger
    from data_platform.core.assets import Publication
    from data_platform.core.checks import CHECKS

    run_id = f"dbt-{uuid.uuid4()}"
    refused: list[str] = []
    for computed in session.computed.values():
        table = computed.table
        publication = Publication(table)
        days = session.days if table.partition else []
        publication.publish(session.lake, [computed.frame], days, run_id, computed.verdicts)
        verdict_ledger.record_materialization(session.lake, table, publication.verdicts, CHECKS, run_id)
        refused += [f"{table.key} {day}".strip() for day in sorted(publication.verdicts.blocked())]
        print(f"{table.key}: {sum(publication.rows.values())} rows, version {publication.version}")
    if refused:
        raise PlatformError(
            f"Not published, because a rule of severity error failed: {', '.join(refused[:20])}.",
            "quality/check_results says which rule and for which keys.",
        )
