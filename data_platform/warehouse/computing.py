"""What dbt's plugin does with the models of a run: shows SQL the days it may see, computes slices, asks tests.
Belongs here: days, slices, verdicts. Not here: how dbt calls (lake_plugin), publishing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from data_platform.core.attempts import each_day_it_can
from data_platform.core.contract.calendar import without_gaps
from data_platform.core.contract.day_slices import slices
from data_platform.core.contract.table import Days, Severity, Table, contracts
from data_platform.core.errors import PlatformError
from data_platform.core.lake.moved_rows import days_sharing_rows
from data_platform.core.lake.snapshot import Snapshot
from data_platform.core.lake.store import Lake
from data_platform.core.quality.connected import connected_since, since_variables
from data_platform.core.quality.validation import WHOLE_TABLE, Status, Verdict
from data_platform.core.sql_text import quoted
from data_platform.warehouse.nodes import Nodes, one_line, tables_read
from data_platform.warehouse.relations import fetched, quoted_relation, show_files
from data_platform.warehouse.verdicts import Tested, verdicts_of

LONG_AGO, FAR_AHEAD = dt.date(1, 1, 1), dt.date(9999, 12, 31)


@dataclass
class Computed:
    """A model's rows of the run's days: one table of DuckDB for each slice."""

    table: type[Table]
    sql: str
    slices: list[tuple[list[dt.date], str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waits_for: list[str] = field(default_factory=list)
    read: dict[str, int | None] = field(default_factory=dict)

    @property
    def days(self) -> list[dt.date]:
        return [day for days, _ in self.slices for day in days]


class Computing:
    """The models of one run of dbt. `refused` is asked which days of a model that was computed in this run are not to
    be read; it may wait until that is known."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, lake: Lake, today: dt.date, last: dt.date | None, slice_rows: int
    ) -> None:
        self.connection, self.lake, self.today, self.last, self.slice_rows = connection, lake, today, last, slice_rows
        self.computed: dict[str, Computed] = {}
        self._shown: dict[str, tuple[Any, ...]] = {}
        self._aside: dict[str, tuple[Any, ...]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._known: dict[tuple[str, ...], str] = {}
        since = since_variables().items()
        self._first_days = {name: connected_since(lake, table) for name, table in since}

    # ------------------------------------------------------------------ what SQL sees
    def set_days(self, connection: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> None:
        """The days of a statement. DuckDB variables, not dbt vars, so that a model's SQL is the same every day."""
        connection.execute("SET TimeZone = 'UTC'")
        first, last = (days[0], days[-1]) if days else (LONG_AGO, FAR_AHEAD)
        for name, day in {"first_day": first, "last_day": last, "today": self.today, **self._first_days}.items():
            connection.execute(f"SET VARIABLE {name} = {f'DATE {str(day)!r}' if day else 'NULL::DATE'}")

    def show(self, table: type[Table], first: dt.date | None = None, last: dt.date | None = None) -> None:
        """The table as it stands, up to the last day of the run at most; computed days as they are computed."""
        last = min(filter(None, (last, self.last)), default=None) if table.partition else None
        computed = self.computed.get(table.key)
        paths = self._snapshot(table).paths(first, last, days_sharing_rows(self.lake, table, first, last))
        wanted = (*paths, *(name for _, name in computed.slices)) if computed else tuple(paths)
        asked, shown = (wanted, first, last), self._shown.get(table.key)
        if shown == asked:
            return
        self._shown.pop(table.key, None)
        if self._aside.get(table.key) == asked:
            self._show_again(table)
            self._shown[table.key] = asked
            return
        if shown and shown[1:] == (None, self.last if table.partition else None) and not computed and self.lake.local:
            self._put_aside(table, shown)
        if computed and computed.slices:
            stored = f"{table.table_name()}__published"
            show_files(self.connection, self.lake, table, self._beside(computed, paths), stored, self._known)
            parts = [f"SELECT * FROM {quoted_relation(table, stored)}"] if table.partition else []  # noqa: S608
            columns = ", ".join(quoted(name) for name in table.columns)
            parts += [f"SELECT {columns} FROM {name}" for _, name in computed.slices]  # noqa: S608
            rows = " UNION ALL BY NAME ".join(parts)
            if table.partition and (first or last):
                bounds = f"BETWEEN DATE '{first or LONG_AGO}' AND DATE '{last or FAR_AHEAD}'"
                rows = f"SELECT * FROM ({rows}) WHERE {quoted(table.partition)} {bounds}"  # noqa: S608
            self.connection.execute(f"CREATE OR REPLACE VIEW {quoted_relation(table)} AS {rows}")
        else:
            show_files(self.connection, self.lake, table, paths, known=self._known)
        self._shown[table.key] = asked

    def _put_aside(self, table: type[Table], shown: tuple[Any, ...]) -> None:
        """Keep the view over all days while some are shown: making one over a year takes 20 ms, naming it 1."""
        self.connection.execute(f"DROP VIEW IF EXISTS {quoted_relation(table, _aside(table))}")
        self.connection.execute(f"ALTER VIEW {quoted_relation(table)} RENAME TO {quoted(_aside(table))}")
        self._aside[table.key] = shown

    def _show_again(self, table: type[Table]) -> None:
        del self._aside[table.key]
        self.connection.execute(f"DROP VIEW IF EXISTS {quoted_relation(table)}")
        self.connection.execute(
            f"ALTER VIEW {quoted_relation(table, _aside(table))} RENAME TO {quoted(table.table_name())}"
        )

    def _beside(self, computed: Computed, paths: Sequence[str]) -> list[str]:
        """The files of the days that were not computed."""
        files = self._snapshot(computed.table).files
        replaced = {str(day) for day in computed.days}
        if computed.table.partition is None:
            return []
        gone = set(files.filter(pl.col("partition").is_in(replaced))["path"])
        return [path for path in paths if path not in gone]

    def _snapshot(self, table: type[Table]) -> Snapshot:
        if table.key not in self._snapshots:
            self._snapshots[table.key] = self.lake.snapshot(table)
        return self._snapshots[table.key]

    def published(self, key: str) -> None:
        """The lake holds what was computed of the table: its rows are let go of."""
        computed = self.computed.pop(key)
        self._snapshots.pop(key, None)
        self._shown.pop(key, None)
        self._aside.pop(key, None)
        self.show(computed.table)
        for _, name in computed.slices:
            self.connection.execute(f"DROP TABLE {name}")

    # ------------------------------------------------------------------ models
    def compute(
        self,
        table: type[Table],
        model: Mapping[str, Any],
        sql: str,
        nodes: Nodes,
        inputs: Sequence[Days],
        days: Sequence[dt.date],
    ) -> Computed:
        """Compute a model's days (of a table without days, all of it) and show them under its name.

        SQL sees of each input exactly the days that are declared. Raises PlatformError when nothing can be computed, or
        the model reads a table that `inputs` does not name.
        """
        declared = {needed.table.key for needed in inputs}
        require_declared(model, nodes, declared)
        for needed in inputs:
            self.show(needed.table)
        computed = Computed(table, sql, read={key: self._snapshot(contracts()[key]).version for key in declared})
        path = model["original_file_path"]

        def compute_slice(asked: list[dt.date]) -> None:
            over = without_gaps(asked)
            for needed in inputs:
                self.show(needed.table, *needed.around(over))
            self.set_days(self.connection, over)
            relation = quoted_relation(table, f"{table.table_name()}__slice_{len(computed.slices)}")
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.table_group())}")
            try:
                self.connection.execute(f"CREATE OR REPLACE TABLE {relation} AS (\n{sql}\n)")
                if len(over) > len(asked):
                    wanted = ", ".join(f"DATE '{day}'" for day in asked)
                    rest = f"{quoted(str(table.partition))} NOT IN ({wanted})"
                    self.connection.execute(f"DELETE FROM {relation} WHERE {rest}")  # noqa: S608
            except duckdb.Error as error:
                raise PlatformError(
                    f"dbt: {table.table_name()} ({path}) fails: {one_line(error)}", "Correct the model, then run again."
                ) from None
            fetched(self.connection, f"{relation} LIMIT 0", table)
            computed.slices.append((asked, relation))

        try:
            failed = each_day_it_can(self._slices(table, inputs, days), compute_slice)
        finally:
            for needed in inputs:
                self.show(needed.table)
        computed.failed = {day: str(error) for day, error in failed.items()}
        self.computed[table.key] = computed
        self.show(table)
        return computed

    def _slices(
        self, table: type[Table], inputs: Sequence[Days], days: Sequence[dt.date]
    ) -> Iterable[Sequence[dt.date]]:
        if table.partition is None:
            return [[]]
        sized = [(needed, self.lake.rows(needed.table)) for needed in inputs if needed.table.partition]
        return slices(days, sized, self.slice_rows)

    # ------------------------------------------------------------------ tests
    def test(
        self,
        table: type[Table],
        test: Mapping[str, Any],
        sql: str,
        inputs: Sequence[Days],
        days: Sequence[dt.date],
    ) -> list[Verdict]:
        """What a test says of each day of the table, which are those computed in this run or else the lake's.

        It sees of each input what the model saw, slice by slice, and all of every other table: staging views have a
        window over all that they are shown, and one day's test over a year of orders took a minute."""
        found: list[Verdict] = []
        try:
            for asked in self._slices(table, inputs, days):
                over = without_gaps(asked)
                for needed in inputs:
                    self.show(needed.table, *needed.around(over))
                self.set_days(self.connection, over)
                tested = self._asked(str(test["name"]), sql, test["config"])
                found += verdicts_of(tested, table, self.rows(table, asked))
        finally:
            for needed in inputs:
                self.show(needed.table)
        return found

    def rows(self, table: type[Table], days: Sequence[dt.date]) -> dict[str, int]:
        """Partition → rows of the table as SQL sees it, of these days."""
        if table.partition is None:
            counted = f"SELECT '{WHOLE_TABLE}', count(*) FROM {quoted_relation(table)}"  # noqa: S608
        else:
            column, first, last = quoted(table.partition), min(days, default=FAR_AHEAD), max(days, default=LONG_AGO)
            counted = f"SELECT {column}::VARCHAR, count(*) FROM {quoted_relation(table)} "  # noqa: S608
            counted += f"WHERE {column} BETWEEN DATE '{first}' AND DATE '{last}' GROUP BY ALL"
        found = dict(self.connection.execute(counted).fetchall())
        return {day: found.get(day, 0) for day in (map(str, days) if table.partition else [WHOLE_TABLE])}

    def _asked(self, name: str, sql: str, config: Mapping[str, Any]) -> Tested:
        """What dbt would say of the test: https://docs.getdbt.com/reference/resource-configs/severity."""
        limit = f" LIMIT {config['limit']}" if config.get("limit") is not None else ""
        calc, warn_if, error_if = config["fail_calc"], config["warn_if"], config["error_if"]
        asked = f"SELECT {calc} {warn_if}, {calc} {error_if} FROM (\n{sql}\n{limit})"  # noqa: S608
        severity = Severity.ERROR if str(config["severity"]).lower() == "error" else Severity.WARNING
        try:
            warns, fails = self.connection.execute(asked).fetchall()[0]
            failing = self.connection.sql(sql).pl() if warns or fails else None
        except duckdb.Error as error:
            return Tested(name, severity, Status.ERRORED, message=one_line(error))
        blocks = fails and severity == Severity.ERROR
        if not blocks and not warns:
            return Tested(name, severity, Status.PASSED)
        return Tested(name, severity if blocks else Severity.WARNING, Status.FAILED, failing)


def _aside(table: type[Table]) -> str:
    return f"{table.table_name()}__aside"


def require_declared(model: Mapping[str, Any], nodes: Nodes, declared: set[str]) -> None:
    """Raise PlatformError for a model that reads, also through views, a table that nobody declared."""
    if undeclared := sorted(tables_read(nodes, [model["unique_id"]]) - declared):
        raise PlatformError(
            f"The dbt model {model['name']} reads {', '.join(undeclared)}, which its asset does not declare.",
            "Name the table and its days among the inputs of the asset.",
        )


def held_back(inputs: Sequence[Days], days: Sequence[dt.date], refused: Callable[[str], set[str]]) -> dict[str, str]:
    """Day (`""`: the whole table) → the input whose refused day it needs."""
    found: dict[str, str] = {}
    for needed in inputs:
        missing = refused(needed.table.key)
        if not missing:
            continue
        if needed.table.partition is None or not days:
            found |= dict.fromkeys(map(str, days) if days else [""], needed.table.key)
            continue
        for day in days:
            first, last = needed.around([day])
            if any((first is None or first <= dt.date.fromisoformat(one)) and one <= str(last) for one in missing):
                found[str(day)] = needed.table.key
    return found
