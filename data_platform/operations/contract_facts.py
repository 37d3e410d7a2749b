"""Prints what the contracts of the importable data_platform promise, as one JSON object, key → facts.
Its source is run inside other revisions of the project too, so it asks for nothing that an old contract may lack, and
imports nothing of its own revision. Not here: comparing (contract_changes)."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main() -> None:
    importlib.import_module("data_platform.definitions")
    contracts = found("contracts", "core.contract.table", "core.contract")
    inputs_of = found("inputs_of", "core.contract.lineage", "core.lineage", "core.assets") or (lambda table: ())
    facts = {key: table_facts(table, inputs_of(table)) for key, table in contracts().items()}
    json.dump(facts, sys.stdout, default=str, sort_keys=True)


def found(name: str, *modules: str) -> Any:
    """What is called so in the first of the modules that has it: they have moved, newest place first."""
    for module in modules:
        try:
            return getattr(importlib.import_module(f"data_platform.{module}"), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    return None


def table_facts(table: Any, inputs: Any) -> dict[str, Any]:
    """What readers and producers of a table may depend on, as values of JSON."""
    retention = getattr(table, "retention", None)
    fresh = getattr(table, "fresh", None)
    return {
        "description": table.table_description(),
        "partition": table.partition,
        "primary_key": list(table.primary_key),
        "owner": table.owner,
        "fresh_seconds": fresh.fail.total_seconds() if fresh else None,
        "retention_days": retention.days if retention else None,
        "inputs": sorted({needed.table.key for needed in inputs}),
        "columns": {name: column_facts(column) for name, column in table.columns.items()},
        "rules": {
            rule.name: {
                "description": rule.description,
                "severity": str(rule.severity),
                "condition": condition(rule),
            }
            for rule in (*getattr(table, "row_rules", ()), *getattr(table, "table_rules", ()))
        },
    }


def condition(rule: Any) -> str:
    """The expression of a row rule; of a rule over tables which days of which tables it looks at."""
    if hasattr(rule, "holds"):
        return str(rule.holds)
    beside = getattr(rule, "beside", {})
    return "; ".join(sorted(f"{days.table.key} {days.first}..{days.last}" for days in beside.values()))


def column_facts(column: Any) -> dict[str, Any]:
    plain = ("description", "unit", "ge", "le", "pattern", "min_length")
    isin = getattr(column, "isin", None)
    references = getattr(column, "references", None)
    return {name: value(getattr(column, name, None)) for name in plain} | {
        "dtype": str(column.dtype),
        "nullable": bool(column.nullable),
        "personal": value(getattr(column, "personal", None)),
        "severity": str(getattr(column, "severity", "error")),
        "isin": sorted(map(str, isin)) if isin is not None else None,
        "references": f"{references.table.key}.{references.name}" if references is not None else None,
    }


def value(found: Any) -> Any:
    return found if found is None or isinstance(found, int | float) else str(found)


if __name__ == "__main__":
    main()
