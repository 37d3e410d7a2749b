"""The dbt-duckdb plugin: lake tables in, computed days out, test results as verdicts. dbt creates it by name
(dbt/profiles.yml). A step of Dagster leaves it a plan and publishes; from a shell it publishes itself.
Not here: what is shown and computed (computing), what is said to a step (exchange)."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.table import Days, Severity, Table, contracts
from data_platform.core.discovery import know_contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import configured_lake
from data_platform.core.private_files import write_for_owner_alone
from data_platform.core.quality.validation import Status, Verdict
from data_platform.core.settings import settings
from data_platform.core.sql_text import quoted
from data_platform.warehouse.computing import Computed, Computing, held_back
from data_platform.warehouse.exchange import Handover, Slice, await_answer, hand_over, plan_of
from data_platform.warehouse.nodes import Nodes, judged_model, tables_read, views_at_once
from data_platform.warehouse.relations import fetched
from data_platform.warehouse.verdicts import Tested, of_days, verdicts_of

FROM_VARIABLE, TO_VARIABLE = "DATA_PLATFORM_DBT_FROM", "DATA_PLATFORM_DBT_TO"

_STATUS = {"pass": Status.PASSED, "fail": Status.FAILED, "warn": Status.FAILED, "error": Status.ERRORED}


class Plugin(BasePlugin):
    """Called by dbt-duckdb and by the macros of dbt/macros."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        know_contracts()  # SQL may name any table
        write_for_owner_alone()
        self.folder = Path(os.environ.get("DBT_TARGET_PATH", ""))
        self.plan = plan_of(self.folder)
        self.publishes = bool(plugin_config.get("publishes"))
        self.handed_over: dict[str, set[str] | None] = {}
        """Tables that the step has got; the days it refused, once they are known."""
        self.verdicts: dict[str, list[Verdict]] = {}
        """Of rows that are stored, by table."""
        self.asked: set[str] = set()
        self.early: dict[str, list[tuple[Mapping[str, Any], str]]] = {}
        """Tests that dbt came to before their model, because they do not read it."""
        if self.plan:
            named = sorted({day for days in self.plan.days.values() for day in days})
            self.days = [dt.date.fromisoformat(day) for day in named]
            self.lake, self.today = configured_lake(self.plan.root), dt.date.fromisoformat(self.plan.today)
        else:
            self.lake, self.today = configured_lake(), today_utc()
            self.days = _named_days() if self.publishes else _named_days(self.today - dt.timedelta(days=1), self.today)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        self.connection = conn
        conn.execute("SET GLOBAL TimeZone = 'UTC'")
        conn.execute("SET GLOBAL parquet_metadata_cache = true")  # the lake's files never change, and are shown often
        slice_rows = self.plan.slice_rows if self.plan else settings().slice_rows
        last = None if self.plan else self.days[-1]
        self.computing = Computing(conn, self.lake, self.today, last, slice_rows)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.computing.set_days(cursor, self.days)  # a cursor does not inherit variables
        cursor.execute(f"SET VARIABLE judged_by_day = {self.plan is not None}")

    def store(self, target_config: Any) -> None:
        """`start`: what is selected is known. `compute`: a model is due. `test`: a test is, of days that a step
        computes. `finish`: all models and tests are done."""
        message = target_config.config
        if message["step"] == "start":
            self._start(message["nodes"], message["selected"])
        elif message["step"] == "compute":
            self._compute(_table_of(message["model"]), message["model"], message["sql"], message["nodes"])
        elif message["step"] == "test":
            self._test(message["model"], message["sql"])
        elif self.plan:
            self._hand_over_the_rest()
        else:
            self._finish(list(message["results"]))

    def _start(self, nodes: Nodes, selected: Sequence[str]) -> None:
        chosen = [unique_id for unique_id in selected if unique_id in nodes]
        # What is computed and read by nothing that is selected is shown once it is computed.
        for key in sorted(tables_read(nodes, chosen)):
            if key in contracts():
                self.computing.show(contracts()[key])
        views = list(enumerate(views_at_once(nodes, chosen)))
        for schema in sorted({nodes[unique_id]["schema"] for _, unique_id in views}):
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")  # by dbt 25 ms, a view each
        self.connection.execute("CREATE OR REPLACE TABLE main.views_to_create (position INTEGER, unique_id VARCHAR)")
        if views:
            self.connection.executemany("INSERT INTO main.views_to_create VALUES (?, ?)", views)

    # ------------------------------------------------------------------ models
    def _compute(self, table: type[Table], model: Mapping[str, Any], sql: str, nodes: Nodes) -> None:
        inputs = self._inputs(table, model)
        if self.plan is None:
            self.computing.compute(table, model, sql, nodes, inputs, self.days if table.partition else [])
            return
        days = [dt.date.fromisoformat(day) for day in self.plan.days.get(table.key, ())]
        held = held_back(inputs, days, self._refused)
        left = [day for day in days if str(day) not in held]
        waits_for = sorted(set(held.values()))
        if held and not left:
            hand_over(self.folder, Handover(table.key, sql, waits_for=waits_for))
            raise PlatformError(f"{table.key} waits for days of {', '.join(waits_for)}.", "Mend these first.")
        try:
            computed = self.computing.compute(table, model, sql, nodes, inputs, left)
        except Exception as error:
            hand_over(self.folder, Handover(table.key, sql, error=error))
            raise
        computed.waits_for = waits_for
        for test, of_test in self.early.pop(table.key, ()):
            computed.verdicts += self.computing.test(table, test, of_test, inputs, computed.days)
            self.asked.add(test["name"])
        if not self.asked.issuperset(self.plan.tests.get(table.key, ())):
            return
        self._hand_over(computed)

    def _inputs(self, table: type[Table], model: Mapping[str, Any]) -> list[Days]:
        reads = self.plan.reads.get(table.key) if self.plan else None
        if reads is None:
            declared = model["config"].get("meta", {}).get("reads")
            if declared is None:
                raise PlatformError(
                    f"dbt/models/contracts.yml does not say what {table.key} reads.", "Write it with `make docs`."
                )
            reads = [(key, *days) for key, days in declared.items()]
        return self._declared(reads)

    def _declared(self, reads: Sequence[Sequence[Any]]) -> list[Days]:
        return [Days(contracts()[key], first, last) for key, first, last in reads]

    def _refused(self, key: str) -> set[str]:
        """The days of a table of this run that were not published, once that is known."""
        if key not in self.handed_over:
            return set()
        refused = self.handed_over[key]
        if refused is None:
            refused = self.handed_over[key] = await_answer(self.folder, key)
            self.computing.published(key)
        return refused

    def _hand_over(self, computed: Computed) -> None:
        slices = []
        for number, (days, relation) in enumerate(computed.slices):
            file = f"{computed.table.key.replace('/', '.')}-{number}.arrow"
            fetched(self.connection, relation, computed.table).write_ipc(self.folder / file)
            slices.append(Slice(days, file))
        self.handed_over[computed.table.key] = None
        more = (computed.verdicts, computed.failed, None, computed.waits_for, computed.read)
        hand_over(self.folder, Handover(computed.table.key, computed.sql, slices, *more))

    # ------------------------------------------------------------------ tests
    def _test(self, test: Mapping[str, Any], sql: str) -> None:
        assert self.plan is not None
        key = next(key for key, tests in self.plan.tests.items() if test["name"] in tests)
        table, computed = contracts()[key], self.computing.computed.get(key)
        inputs = self._declared(self.plan.reads[key])
        if self.plan.as_stored:
            days = [dt.date.fromisoformat(day) for day in self.plan.days[key]]
            self.verdicts.setdefault(key, []).extend(self.computing.test(table, test, sql, inputs, days))
        elif computed and key not in self.handed_over:
            computed.verdicts += self.computing.test(table, test, sql, inputs, computed.days)
            self.asked.add(test["name"])
            if self.asked.issuperset(self.plan.tests[key]):
                self._hand_over(computed)
        elif key not in self.handed_over:
            self.early.setdefault(key, []).append((test, sql))

    def _hand_over_the_rest(self) -> None:
        """Models some of whose tests dbt never came to."""
        for key, verdicts in self.verdicts.items():
            hand_over(self.folder, Handover(key, "", verdicts=verdicts))
        for key, computed in self.computing.computed.items():
            if key not in self.handed_over:
                self._hand_over(computed)

    # ------------------------------------------------------------------ from a shell
    def _finish(self, results: list[Any]) -> None:
        for result in results:
            node = result.node
            if node.resource_type == "test" and (key := self._key_judged_by(results, node)):
                computed = self.computing.computed[key]
                counts = self.computing.rows(computed.table, computed.days)
                computed.verdicts += verdicts_of(self._tested(result), computed.table, counts)
        if self.publishes:
            self._publish()
        else:
            self._tell()

    def _key_judged_by(self, results: list[Any], test: Any) -> str | None:
        name = judged_model(test.to_dict())
        return next((key for key in self.computing.computed if key.endswith(f"/{name}")), None)

    def _tested(self, result: Any) -> Tested:
        node, status = result.node, _STATUS.get(str(result.status), Status.NOT_JUDGED)
        blocks = str(node.config.severity).lower() == "error" and str(result.status) != "warn"
        failing = self.connection.sql(node.compiled_code).pl() if status == Status.FAILED else None
        message = str(result.message)[:500] if status in (Status.ERRORED, Status.NOT_JUDGED) else None
        return Tested(node.name, Severity.ERROR if blocks else Severity.WARNING, status, failing, message)

    def _tell(self) -> None:
        for key, computed in self.computing.computed.items():
            days = f" of {self.days[0]} to {self.days[-1]}" if computed.table.partition else ""
            rows = sum(self.computing.rows(computed.table, computed.days).values())
            print(f"{key}: {rows} rows{days}, not published (`--target lake` does)")

    def _publish(self) -> None:
        """Publish what was computed, judged and recorded like the work of an asset.

        Raises PlatformError naming the tables of which days were refused."""
        from data_platform.core.orchestration.publication import Publication
        from data_platform.core.quality import verdict_ledger

        run_id = f"dbt-{uuid.uuid4()}"
        refused: list[str] = []
        for computed in self.computing.computed.values():
            table = computed.table
            publication = Publication(table)
            for days, relation in computed.slices:
                frame = fetched(self.connection, relation, table)
                publication.publish(self.lake, [frame], days, run_id, of_days(computed.verdicts, days))
            verdict_ledger.record_materialization(self.lake, table, publication.verdicts, run_id)
            held = publication.verdicts.blocked() | computed.failed.keys()
            refused += [f"{table.key} {day}".strip() for day in sorted(held)]
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
