"""The dbt-duckdb plugin, for dbt started from a shell: lake tables in, a run's days out, test results as verdicts.
dbt creates it by name (dbt/profiles.yml). Not here: what Dagster's steps do, which need no dbt (project)."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.discovery import know_contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import configured_lake
from data_platform.core.orchestration.partitions import today_utc
from data_platform.core.private_files import write_for_owner_alone
from data_platform.core.quality.connected import since_variables
from data_platform.core.quality.validation import Status
from data_platform.warehouse.compiled import judged_model
from data_platform.warehouse.project import Computed, set_days, set_first_days
from data_platform.warehouse.relations import expose, fetched, quoted_relation
from data_platform.warehouse.verdicts import Tested, verdicts_of

FROM_VARIABLE, TO_VARIABLE = "DATA_PLATFORM_DBT_FROM", "DATA_PLATFORM_DBT_TO"
PUBLISHED = "{name}__published"
"""Days of a table that a run does not compute, beside the relation that has all of them."""

_STATUS = {"pass": Status.PASSED, "fail": Status.FAILED, "warn": Status.FAILED, "error": Status.ERRORED}


class Plugin(BasePlugin):
    """Called by dbt-duckdb and by the macros of dbt/macros. SQL sees every table up to the last day of the run."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        know_contracts()  # SQL may name any table
        write_for_owner_alone()
        self.lake, self.today = configured_lake(), today_utc()
        self.publishes = bool(plugin_config.get("publishes"))
        self.days = _named_days() if self.publishes else _named_days(self.today - dt.timedelta(days=1), self.today)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        self.connection = conn
        conn.execute("SET GLOBAL TimeZone = 'UTC'")
        for table in contracts().values():
            if not table.journal:
                expose(conn, self.lake, table, None, self.days[-1])

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        set_days(cursor, self.days[0], self.days[-1], self.today)  # a cursor does not inherit variables
        set_first_days(cursor, self.lake, since_variables())

    def store(self, target_config: Any) -> None:
        """`window`: a model's days are computed, show them under its name. `finish`: all models and tests are done."""
        config = target_config.config
        if config["step"] == "window":
            self._show(_table_of(config["model"]), str(target_config.relation))
        else:
            computed = self._computed(list(config["results"]))
            if self.publishes:
                self._publish(computed)
            else:
                self._tell(computed)

    def _show(self, table: type[Table], window: str) -> None:
        relation, rows = quoted_relation(table), f"SELECT * FROM {window}"  # noqa: S608
        if table.partition:
            name = PUBLISHED.format(name=table.table_name())
            expose(self.connection, self.lake, table, name=name)
            rows += (
                f" UNION ALL BY NAME SELECT * FROM {quoted_relation(table, name)}"  # noqa: S608
                f" WHERE {table.partition} NOT BETWEEN getvariable('first_day') AND getvariable('last_day')"
            )
        self.connection.execute(f"CREATE OR REPLACE VIEW {relation} AS {rows}")

    def _computed(self, results: list[Any]) -> list[Computed]:
        computed = []
        for result in results:
            node = result.node
            if node.resource_type != "model" or node.config.materialized != "delta" or str(result.status) != "success":
                continue
            table = _table_of(node)
            frame = fetched(self.connection, _window_of(node), table)
            tests = [self._tested(other) for other in results if judged_model(other.node) == node.name]
            computed.append(
                Computed(table, frame, [v for test in tests for v in verdicts_of(test, table, frame, self.days)])
            )
        return computed

    def _tested(self, result: Any) -> Tested:
        node, status = result.node, _STATUS.get(str(result.status), Status.NOT_JUDGED)
        blocks = str(node.config.severity).lower() == "error" and str(result.status) != "warn"
        failing = self.connection.sql(node.compiled_code).pl() if status == Status.FAILED else None
        message = str(result.message)[:500] if status in (Status.ERRORED, Status.NOT_JUDGED) else None
        return Tested(node.name, Severity.ERROR if blocks else Severity.WARNING, status, failing, message)

    def _tell(self, computed: list[Computed]) -> None:
        for one in computed:
            days = f" of {self.days[0]} to {self.days[-1]}" if one.table.partition else ""
            print(f"{one.table.key}: {len(one.frame)} rows{days}, not published (`--target lake` does)")

    def _publish(self, computed: list[Computed]) -> None:
        """Publish what was computed, judged and recorded like the work of an asset.

        Raises PlatformError naming the tables of which days were refused."""
        from data_platform.core.orchestration.assets import Publication
        from data_platform.core.quality import verdict_ledger

        run_id = f"dbt-{uuid.uuid4()}"
        refused: list[str] = []
        for one in computed:
            table = one.table
            publication = Publication(table)
            publication.publish(self.lake, [one.frame], self.days if table.partition else [], run_id, one.verdicts)
            verdict_ledger.record_materialization(self.lake, table, publication.verdicts, run_id)
            refused += [f"{table.key} {day}".strip() for day in sorted(publication.verdicts.blocked())]
            print(f"{table.key}: {sum(publication.rows.values())} rows, version {publication.version}")
        if refused:
            raise PlatformError(
                f"Not published, because a rule of severity error failed: {', '.join(refused[:20])}.",
                "quality/check_results says which rule and for which keys.",
            )


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


def _named_days(*otherwise: dt.date) -> list[dt.date]:
    """The days that the environment names, or `otherwise` (first, last). Raises PlatformError when one end is missing,
    or both and there is nothing else, and for what is no day or out of order."""
    named = [os.environ.get(variable, "") for variable in (FROM_VARIABLE, TO_VARIABLE)]
    if otherwise and not any(named):
        first, last = otherwise
    elif not all(named):
        raise PlatformError(
            f"{TO_VARIABLE if named[0] else FROM_VARIABLE} is not set: the days to be computed are not guessed.",
            f"Set {FROM_VARIABLE}=2026-01-01 and {TO_VARIABLE}=2026-01-31; without both, the target dev takes "
            "yesterday and today.",
        )
    else:
        try:
            first, last = map(dt.date.fromisoformat, named)
        except ValueError as error:
            raise PlatformError(
                f"{FROM_VARIABLE} or {TO_VARIABLE} is no day: {error}.", "Write it as 2026-01-31."
            ) from None
    if first > last:
        raise PlatformError(f"{FROM_VARIABLE} {first} is after {TO_VARIABLE} {last}.", "Exchange them.")
    return [first + dt.timedelta(n) for n in range((last - first).days + 1)]
