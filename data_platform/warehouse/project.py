"""The dbt project in dbt/, run inside this process: one model and its tests at a time.
Belongs here: parsing once, selecting, turning dbt's failures into ours. Not here: Dagster, what SQL reads (session).

dbt's own command starts a new process for every step: 3 s of imports and parsing before the first query. Here a process
pays that once, and each further model takes some tenths of a second."""

from __future__ import annotations

import atexit
import datetime as dt
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from data_platform.core.contract import Days, Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake import Lake
from data_platform.core.settings import PROJECT_ROOT, settings
from data_platform.warehouse.session import Computed, Session, entered

PROJECT = PROJECT_ROOT / "dbt"
PARSED = "partial_parse.msgpack"
_ONE_AT_A_TIME = threading.Lock()
"""dbt keeps its adapter and its flags in module globals."""


def compute(
    table: type[Table], inputs: Sequence[Days], days: Sequence[dt.date], today: dt.date, lake: Lake
) -> Computed:
    """The rows of a table's days (none: the whole table) from its dbt model, and the verdicts of the model's tests.

    SQL sees of each input exactly the days that are declared; tables that only tests look at, as they stand. Nothing is
    written. Raises PlatformError when the model fails, or reads a table that `inputs` does not name.
    """
    with _ONE_AT_A_TIME:
        manifest = _manifest()
        model = _model(manifest, table)
        reads, selected = _plan(manifest, model, inputs)
        session = Session(lake, days, today, reads)
        with entered(session):
            _invoke(["build", "--select", *selected, "--indirect-selection", "empty"], manifest)
        return session.computed[table.key]


def tables_read(table: type[Table]) -> set[str]:
    """Keys of the tables that a model's SQL reads, also through views; parses the project."""
    with _ONE_AT_A_TIME:
        manifest = _manifest()
        return set(_reached(manifest, [_model(manifest, table)])[0])


def _plan(manifest: Any, model: Any, inputs: Sequence[Days]) -> tuple[dict[str, Days | None], list[str]]:
    """What SQL is shown (table key → days), and the names dbt is to build: views, the model, its tests."""
    from data_platform.warehouse.lake_plugin import judges

    declared = {needed.table.key: needed for needed in inputs}
    read, views = _reached(manifest, [model])
    undeclared = sorted(read.keys() - declared.keys())
    if undeclared:
        raise PlatformError(
            f"The dbt model {model.name} reads {', '.join(undeclared)}, which its asset does not declare.",
            "Name the table and its days among the inputs of the asset.",
        )
    tests = [node for node in manifest.nodes.values() if judges(node, model)]
    beside, more_views = _reached(manifest, tests, but=model.unique_id)
    reads: dict[str, Days | None] = {**dict.fromkeys(beside), **declared}
    return reads, [model.name, *sorted({*views, *more_views}), *(test.name for test in tests)]


def _reached(manifest: Any, nodes: Sequence[Any], but: str = "") -> tuple[dict[str, None], list[str]]:
    """Keys of the lake tables that nodes read, and names of the views in between."""
    tables: dict[str, None] = {}
    views: dict[str, None] = {}
    waiting = [parent for node in nodes for parent in node.depends_on.nodes]
    while waiting:
        parent = waiting.pop()
        if parent == but:
            continue
        if parent in manifest.sources:
            source = manifest.sources[parent]
            tables[f"{source.schema}/{source.identifier}"] = None
        elif (node := manifest.nodes.get(parent)) is None or node.resource_type == "seed":
            continue
        elif node.config.materialized == "delta":
            tables[f"{node.schema}/{node.name}"] = None
        else:
            views[node.name] = None
            waiting += node.depends_on.nodes
    return tables, list(views)


def _model(manifest: Any, table: type[Table]) -> Any:
    found = next(
        (node for node in manifest.nodes.values() if node.resource_type == "model" and node.name == table.table_name()),
        None,
    )
    if found is None or found.schema != table.table_group():
        raise PlatformError(
            f"There is no dbt model {table.table_name()} in the schema {table.table_group()}.",
            f"Add {table.table_name()}.sql below {PROJECT / 'models'}.",
        )
    return found


@cache
def _target() -> Path:
    """A folder of this process for what dbt writes, so that processes never share one; gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="data-platform-dbt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _manifest() -> Any:
    """The parsed project. What dbt parsed before is kept beside the lake, under a digest of the project, so that only
    the first process after a change of the SQL parses (dbt compares file by file)."""
    kept = settings().home / "dbt" / _digest() / PARSED
    if kept.exists():
        shutil.copyfile(kept, _target() / PARSED)
    manifest = _invoke(["parse"], None)
    if not kept.exists() and (_target() / PARSED).exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_name(f".{os.getpid()}-{PARSED}")
        shutil.copyfile(_target() / PARSED, fresh)
        os.replace(fresh, kept)
    return manifest


def _digest() -> str:
    from importlib.metadata import version

    told = hashlib.blake2b(f"{version('dbt-core')} {version('dbt-duckdb')}".encode(), digest_size=8)
    for path in sorted(PROJECT.rglob("*")):
        if path.is_file() and path.suffix in {".sql", ".yml", ".csv"} and not _written_by_dbt(path):
            told.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return told.hexdigest()


def _written_by_dbt(path: Path) -> bool:
    return path.relative_to(PROJECT).parts[0] in {"target", "logs", "dbt_packages"}


def _invoke(command: Sequence[str], manifest: Any) -> Any:
    """What the dbt command yields. Raises PlatformError with dbt's message when a model, not a test, fails."""
    from dbt.cli.main import dbtRunner

    folders = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", _target(), "--log-path", _target()]
    silent = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-use-colors", "--no-write-json"]
    arguments = [*command, *map(str, folders), *silent]
    try:
        outcome = dbtRunner(manifest=manifest).invoke(arguments)
    finally:
        _close()
    if outcome.exception is not None:
        if isinstance(outcome.exception, PlatformError):
            raise outcome.exception
        raise PlatformError(f"dbt {command[0]} fails: {_message(outcome.exception)}", "Correct the SQL below dbt/.")
    for result in getattr(outcome.result, "results", ()):
        if result.node.resource_type != "test" and str(result.status) not in ("success", "pass"):
            raise PlatformError(
                f"dbt: {result.node.name} ({result.node.original_file_path}) fails: {_message(result.message)}",
                f"Correct the model; `dbt compile --select {result.node.name}` in {PROJECT} shows its SQL.",
            )
    return outcome.result


def _close() -> None:
    """Forget the DuckDB of the invocation; dbt-duckdb would go on with it, and its views, in the next one."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager._ENV.close()  # type: ignore[no-untyped-call]
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def _message(error: object) -> str:
    return " ".join(str(error).split())[:1000]
