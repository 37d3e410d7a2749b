"""dbt/models/contracts.yml, written from the contracts: sources, descriptions and tests of every model.
Belongs here: what a contract means to dbt. Not here: any table. Run as a module to write the file, and the
manifest that follows from it (`make docs`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Column, Severity, Table, contracts
from data_platform.core.discovery import know_assets
from data_platform.warehouse import manifest
from data_platform.warehouse.manifest import PROJECT

SCHEMA_FILE = PROJECT / "models" / "contracts.yml"
HEADER = "# Written from the contracts by `make docs`; change those instead.\n"
DBT_SEVERITY = {Severity.ERROR: "error", Severity.WARNING: "warn", Severity.INFO: "warn"}


def schema_text(models: Sequence[type[Table]]) -> str:
    """The YAML of these models, and as sources the tables they read that dbt does not compute."""
    computed = {model.key for model in models}
    read = {needed.table.key: needed.table for model in models for needed in inputs_of(model)}
    referenced = [c.references.table for model in models for c in model.columns.values() if c.references]
    read |= {table.key: table for table in referenced if table}
    outside = {key: table for key, table in read.items() if key not in computed}
    groups = sorted({table.table_group() for table in outside.values()})
    content = {
        "version": 2,
        "sources": [
            {
                "name": group,
                "schema": group,
                "tables": [
                    {"name": table.table_name(), "description": table.table_description()}
                    for _, table in sorted(outside.items())
                    if table.table_group() == group
                ],
            }
            for group in groups
        ],
        "models": [_model(model, computed) for model in sorted(models, key=lambda model: model.key)],
    }
    body: str = yaml.safe_dump(content, sort_keys=False, width=118, allow_unicode=True)
    return HEADER + body


def _model(table: type[Table], computed: set[str]) -> dict[str, Any]:
    return {
        "name": table.table_name(),
        "description": table.table_description(),
        # What SQL may see of each table, for a run from a shell: first (null: all before) and last day that a day
        # needs.
        "config": {"meta": {"reads": {d.table.key: [d.first, d.last] for d in inputs_of(table)}}},
        "data_tests": [
            _test(table, "unique_key", Severity.ERROR, columns=list(table.primary_key)),
            # One test for all columns: a test costs 30 ms whatever it looks at.
            _test(
                table, "not_null", Severity.ERROR, columns=[c.name for c in table.columns.values() if not c.nullable]
            ),
        ],
        "columns": [_column(table, declared, computed) for declared in table.columns.values()],
    }


def _column(table: type[Table], declared: Column, computed: set[str]) -> dict[str, Any]:
    tests: list[Any] = []
    if declared.ge is not None:
        tests.append(_test(table, "at_least", declared.severity, bound=declared.ge))
    if declared.le is not None:
        tests.append(_test(table, "at_most", declared.severity, bound=declared.le))
    if declared.isin is not None:
        tests.append(_test(table, "accepted_values", declared.severity, values=list(map(str, declared.isin))))
    if declared.references is not None and declared.references.table is not None:
        other = declared.references.table
        to = f"ref('{other.table_name()}')" if other.key in computed else _source(other)
        tests.append(_test(table, "relationships", Severity.WARNING, to=to, field=declared.references.name))
    return {"name": declared.name, "description": declared.description, **({"data_tests": tests} if tests else {})}


def _source(table: type[Table]) -> str:
    return f"source('{table.table_group()}', '{table.table_name()}')"


def _test(table: type[Table], name: str, severity: Severity, **arguments: Any) -> Any:
    config: dict[str, Any] = {"severity": DBT_SEVERITY[severity], "meta": {"of_contract": True}}
    if table.partition:
        config["where"] = f"{table.partition} between getvariable('first_day') and getvariable('last_day')"
    return {name: {**({"arguments": arguments} if arguments else {}), "config": config}}


def write(models: Sequence[type[Table]], path: Path = SCHEMA_FILE) -> Path:
    path.write_text(schema_text(models))
    return path


def main() -> None:
    """Write the file for every model of the code location."""
    know_assets()
    print(write([table for table in contracts().values() if table.kind == "dbt"]))
    print(manifest.write())


if __name__ == "__main__":
    main()
