"""The dbt project in dbt/, compiled by dbt: the SQL of its models, views and tests as plain data.
Belongs here: compiling once, keeping the result, what depends on what. Not here: running SQL, what it reads (project).

The SQL of a model is the same every day (the days are DuckDB variables), so dbt is needed only when a file changes:
importing it and reading the parsed project take 2 s, running a model through it 0.3 s more for every step."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_platform.core.contract.table import Severity, Table
from data_platform.core.durable import write_durably
from data_platform.core.errors import PlatformError
from data_platform.core.scratch import scratch_folder
from data_platform.core.settings import PROJECT_ROOT, settings

PROJECT = PROJECT_ROOT / "dbt"
KEPT = "compiled.json"
FORMAT = 1
"""Of the kept file; to be raised when `Node` changes."""
MODEL, VIEW, TEST = "delta", "view", "test"
_SEVERITY = {"error": Severity.ERROR, "warn": Severity.WARNING}
_ONE_AT_A_TIME = threading.Lock()
"""dbt keeps its adapter and its flags in module globals."""


@dataclass(frozen=True)
class Node:
    """A model (`delta`: a table of the lake), a view, or a test of a model."""

    name: str
    kind: str
    schema: str
    path: str
    sql: str
    reads: tuple[str, ...]
    """Names of models and views, and `group/table` of sources."""
    judges: str = ""
    """The model that a test belongs to."""
    severity: str = Severity.ERROR.value
    fail_calc: str = "count(*)"
    warn_if: str = "!= 0"
    error_if: str = "!= 0"
    limit: int | None = None

    @property
    def key(self) -> str:
        return f"{self.schema}/{self.name}"


@dataclass(frozen=True)
class Project:
    """All nodes by name."""

    nodes: Mapping[str, Node]

    def model(self, table: type[Table]) -> Node:
        """The model of a contract. Raises PlatformError when there is none of its name and schema."""
        node = self.nodes.get(table.table_name())
        if node is None or node.kind != MODEL or node.key != table.key:
            raise PlatformError(
                f"There is no dbt model {table.table_name()} in the schema {table.table_group()}.",
                f"Add {table.table_name()}.sql below {PROJECT / 'models'}.",
            )
        return node

    def tests(self, model: Node) -> list[Node]:
        return [node for node in self.nodes.values() if node.kind == TEST and node.judges == model.name]

    def reached(self, nodes: Iterable[Node], but: str = "") -> tuple[dict[str, None], list[Node]]:
        """Keys of the lake tables that nodes read (`but` one model), and the views in between, each after those that it
        reads itself."""
        tables: dict[str, None] = {}
        views: dict[str, Node] = {}

        def visit(node: Node) -> None:
            for name in node.reads:
                found = self.nodes.get(name)
                if found is None:
                    tables[name] = None
                elif found.kind == MODEL and name != but:
                    tables[found.key] = None
                elif found.kind == VIEW and name not in views:
                    visit(found)
                    views[name] = found

        for node in nodes:
            visit(node)
        return tables, list(views.values())


@cache
def compiled_project() -> Project:
    """The project as its files are; dbt compiles it when no process of this home did before. Raises PlatformError with
    dbt's message when a file is wrong."""
    kept = settings().home / "dbt" / _digest() / KEPT
    with _ONE_AT_A_TIME:
        if not kept.exists():
            nodes = [dataclasses.asdict(node) for node in _compiled()]
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_durably(kept, json.dumps(nodes, indent=1).encode())
    nodes = json.loads(kept.read_text())
    return Project({told["name"]: Node(**{**told, "reads": tuple(told["reads"])}) for told in nodes})


def _digest() -> str:
    """Of everything the compiled SQL follows from."""
    versions = f"{FORMAT} {version('dbt-core')} {version('dbt-duckdb')}"
    told = hashlib.blake2b(versions.encode(), digest_size=8)
    for path in sorted(PROJECT.rglob("*")):
        if path.is_file() and path.suffix in {".sql", ".yml", ".csv"} and not _written_by_dbt(path):
            told.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return told.hexdigest()


def _written_by_dbt(path: Path) -> bool:
    return path.relative_to(PROJECT).parts[0] in {"target", "logs", "dbt_packages"}


def _compiled() -> list[Node]:
    """Every node, by dbt's own compiler, which is asked nothing of any database."""
    from dbt.cli.main import dbtRunner

    with scratch_folder("data-platform-dbt-") as target:
        folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        written = ["--target-path", str(target), "--log-path", str(target), "--no-write-json", "--no-introspect"]
        silent = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-use-colors"]
        outcome = dbtRunner().invoke(["compile", *folders, *written, *silent, "--no-populate-cache"])
    if outcome.exception is not None:
        raise PlatformError(f"dbt cannot compile: {one_line(outcome.exception)}", f"Correct the SQL below {PROJECT}.")
    results = getattr(outcome.result, "results", ())
    return [_node(one) for one in results if one.node.resource_type != "operation"]  # of the shell: see lake_plugin


def _node(result: Any) -> Node:
    node = result.node
    if str(result.status) != "success":
        raise _wrong(node, one_line(result.message))
    kind = TEST if node.resource_type == "test" else node.config.materialized
    if kind not in (MODEL, VIEW, TEST) or node.resource_type not in ("model", "test"):
        raise _wrong(
            node, f"it is a {kind} {node.resource_type}; there are models that are views or tables of the lake"
        )
    if getattr(node.config, "pre_hook", ()) or getattr(node.config, "post_hook", ()):
        raise _wrong(node, "it has hooks, which would not run")
    told = Node(node.name, kind, node.schema, node.original_file_path, node.compiled_code, _reads(node))
    if kind != TEST:
        return told
    return dataclasses.replace(
        told,
        judges=judged_model(node),
        severity=_SEVERITY[str(node.config.severity).lower()].value,
        fail_calc=node.config.fail_calc,
        warn_if=node.config.warn_if,
        error_if=node.config.error_if,
        limit=node.config.limit,
    )


def judged_model(test: Any) -> str:
    """Name of the model that a dbt test is one of: a generic test of the model it is attached to, a singular one of the
    model that its config names (`meta={'judges': 'fct_orders'}`); empty for what is no test."""
    if test.resource_type != "test":
        return ""
    attached = getattr(test, "attached_node", None) or ""
    return str(attached.rpartition(".")[2] or test.config.meta.get("judges", ""))


def _reads(node: Any) -> tuple[str, ...]:
    """`source.project.group.table` and `model.project.name` as names of ours."""
    parts = [one.split(".") for one in node.depends_on.nodes]
    return tuple("/".join(one[2:]) if one[0] == "source" else one[-1] for one in parts)


def _wrong(node: Any, why: str) -> PlatformError:
    return PlatformError(f"dbt: {node.name} ({node.original_file_path}) is wrong: {why}.", "Correct the file.")


def one_line(error: object) -> str:
    """What dbt or DuckDB says, without its line breaks and drawings."""
    return " ".join(str(error).split())[:1000]
