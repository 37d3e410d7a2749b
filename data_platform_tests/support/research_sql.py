"""The SQL of research's models over frames, without dbt in between: compiled once, 20 ms a table instead of a second.
Not here: any assertion about the platform."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import json
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import duckdb
import polars as pl

import data_platform.domains.research.assets.models  # noqa: F401  declares what each table is computed from
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table
from data_platform.core.scratch import scratch_folder
from data_platform.warehouse import manifest
from data_platform.warehouse.relations import fetched, quoted_relation

TODAY = dt.date(2024, 12, 31)
"""Long after the days of these tests: all their weeks are over."""


@functools.cache
def compiled() -> Mapping[str, Any]:
    """Node → what dbt made of it: `compiled_code`, `schema`, `name`, `depends_on`."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    with scratch_folder("data-platform-dbt-test-") as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        places = ["--project-dir", str(manifest.PROJECT), "--profiles-dir", str(manifest.PROJECT)]
        places += ["--target-path", str(folder), "--log-path", str(folder), "--log-level-file", "none"]
        try:
            ended = dbtRunner().invoke(["compile", *places, "--select", "path:models"])
        finally:
            DuckDBConnectionManager.close_all_connections()
        assert ended.success, ended.exception or said.getvalue()[-2000:]
        nodes: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text())["nodes"]
        return {key: node for key, node in nodes.items() if node["resource_type"] == "model"}


def computed(
    table: type[Table],
    frames: Mapping[type[Table], pl.DataFrame],
    days: Sequence[dt.date] = (),
    today: dt.date = TODAY,
) -> pl.DataFrame:
    """What the model of a table makes of the days from `frames` of its inputs, sorted by its key. An input that is
    itself a model and no frame is computed from the frames first, of all their days."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _compute(connection, table, frames, days, today)
        return fetched(connection, quoted_relation(table), table).sort(table.primary_key)


def _compute(
    connection: duckdb.DuckDBPyConnection,
    table: type[Table],
    frames: Mapping[type[Table], pl.DataFrame],
    days: Sequence[dt.date],
    today: dt.date,
) -> None:
    for needed in inputs_of(table):
        if needed.table.kind == "dbt" and needed.table not in frames:
            _compute(connection, needed.table, frames, days, today)
            continue
        rows = frames.get(needed.table, needed.table.empty())
        if needed.table.partition and days:
            first, last = needed.around(days)
            day = pl.col(needed.table.partition)
            rows = rows.filter(day <= last, day >= first if first else True)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {needed.table.table_group()}")
        connection.register("given", rows.to_arrow())
        connection.execute(f"CREATE OR REPLACE TABLE {quoted_relation(needed.table)} AS FROM given")
        connection.unregister("given")
    bounds = (min(days, default=dt.date(1, 1, 1)), max(days, default=dt.date(9999, 12, 31)), today)
    for name, value in zip(("first_day", "last_day", "today"), bounds, strict=True):
        connection.execute(f"SET VARIABLE {name} = DATE '{value}'")
    connection.execute("CREATE SCHEMA IF NOT EXISTS staging; CREATE SCHEMA IF NOT EXISTS research")
    model = manifest.lake_models(compiled())[table.key]
    for node in _views_of(model):
        connection.execute(f"CREATE OR REPLACE VIEW staging.{node['name']} AS {node['compiled_code']}")
    connection.execute(f"CREATE OR REPLACE TABLE {quoted_relation(table)} AS {compiled()[model]['compiled_code']}")


def _views_of(model: str) -> list[Mapping[str, Any]]:
    """The staging views that a model reads, each after those that it reads itself."""
    nodes, waiting, needed = compiled(), [model], dict[str, set[str]]()
    while waiting:
        read = [key for key in nodes[waiting[-1]]["depends_on"]["nodes"] if key in nodes]
        views = {key for key in read if nodes[key]["config"]["materialized"] == "view"}
        needed[waiting.pop()] = views
        waiting += [key for key in views if key not in needed]
    return [nodes[key] for key in TopologicalSorter(needed).static_order() if key != model]
