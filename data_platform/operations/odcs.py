"""Contracts as Open Data Contract Standard 3.1 documents, one YAML file per table, for catalogues of other companies.
Belongs here: how a contract reads in that standard. Not here: any fact about a table (its contract says it)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from data_platform.core.contract.table import Column, Severity, Table

API_VERSION = "v3.1.0"
LOGICAL_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "string",
    pl.Binary: "string",
    pl.Date: "date",
    pl.Datetime: "timestamp",
    pl.Int64: "integer",
    pl.Float64: "number",
    pl.Decimal: "number",
    pl.Boolean: "boolean",
    pl.List: "array",
}
DELTA_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "string",
    pl.Binary: "binary",
    pl.Date: "date",
    pl.Datetime: "timestamp",
    pl.Int64: "long",
    pl.Float64: "double",
    pl.Boolean: "boolean",
}


def odcs_contract(table: type[Table]) -> dict[str, Any]:
    """The document of one table as plain values, in the standard's order of fields."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": table.key.replace("/", "."),
        "name": table.key,
        "version": table.version(),
        "status": "active",
        "domain": table.table_group(),
        "description": {"purpose": table.table_description()},
        "schema": [_schema(table)],
        "team": _team(table.owner),
        **({"slaProperties": promised} if (promised := _service_levels(table)) else {}),
    }


def odcs_yaml(table: type[Table]) -> str:
    """The document as YAML."""
    return str(yaml.safe_dump(odcs_contract(table), sort_keys=False, allow_unicode=True, width=120))


def export(tables: Sequence[type[Table]], folder: Path) -> list[Path]:
    """Write `<group>.<table>.odcs.yaml` for each table into the folder, which is made; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for table in tables:
        file = folder / f"{table.key.replace('/', '.')}.odcs.yaml"
        file.write_text(odcs_yaml(table), encoding="utf-8")
        files.append(file)
    return files


def _schema(table: type[Table]) -> dict[str, Any]:
    return {
        "name": table.table_name(),
        "logicalType": "object",
        "physicalType": "delta table",
        "physicalName": table.key,
        "description": table.table_description(),
        "dataGranularityDescription": f"one row per {', '.join(table.primary_key)}",
        "properties": [_property(table, column) for column in table.columns.values()],
        "quality": [
            {
                "name": "primary_key_unique",
                "description": f"one row per ({', '.join(table.primary_key)})",
                "dimension": "uniqueness",
                "type": "library",
                "metric": "duplicateValues",
                "arguments": {"properties": list(table.primary_key)},
                "mustBe": 0,
                "severity": Severity.ERROR.value,
            },
            *(_text_rule(rule.name, rule.description, rule.severity, False) for rule in table.row_rules),
            *(_text_rule(rule.name, rule.description, rule.severity, True) for rule in table.table_rules),
        ],
    }


def _property(table: type[Table], column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": column.name,
        "logicalType": "object" if column.is_json else LOGICAL_TYPES[column.dtype.base_type()],
        "physicalType": _delta_type(column.dtype),
        "description": column.description,
        "required": not column.nullable,
    }
    if column.name in table.primary_key:
        document |= {"primaryKey": True, "primaryKeyPosition": table.primary_key.index(column.name) + 1}
    if column.name == table.partition:
        document |= {"partitioned": True, "partitionKeyPosition": 1}
    if column.personal:
        document["classification"] = column.personal.value
    if isinstance(column.dtype, pl.List):
        document["items"] = {"logicalType": LOGICAL_TYPES[_inner(column.dtype).base_type()]}
    if column.references is not None and column.references.table is not None:
        referenced = column.references
        document["relationships"] = [{"type": "foreignKey", "to": f"{referenced.table.table_name()}.{referenced.name}"}]  # type: ignore[union-attr]
    if options := _bounds(column):
        document["logicalTypeOptions"] = options
    if quality := _quality(column):
        document["quality"] = quality
    custom = {"unit": column.unit, "derivedFrom": [f"{c.table.key}.{c.name}" for c in column.derived_from if c.table]}
    if properties := [{"property": name, "value": value} for name, value in custom.items() if value]:
        document["customProperties"] = properties
    return document


def _delta_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.List):
        return f"array<{_delta_type(_inner(dtype))}>"
    return DELTA_TYPES[dtype.base_type()]


def _inner(dtype: pl.List) -> pl.DataType:
    return dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()


def _bounds(column: Column) -> dict[str, Any]:
    """Bounds that keep a row out; those of lower severity are quality rules alone."""
    if column.severity != Severity.ERROR or column.is_json:
        return {}
    bounds = {
        "minimum": _plain(column.ge),
        "maximum": _plain(column.le),
        "pattern": column.pattern,
        "minLength": column.min_length,
    }
    return {name: value for name, value in bounds.items() if value is not None}


def _quality(column: Column) -> list[dict[str, Any]]:
    """One rule per declared bound; enums as the standard's own metric, the others in words."""
    rules = []
    for rule in column.rules():
        if rule.name == f"{column.name}_known" and column.isin is not None:
            rules.append(
                {
                    "name": rule.name,
                    "description": rule.description,
                    "dimension": "conformity",
                    "type": "library",
                    "metric": "invalidValues",
                    "arguments": {"validValues": [_plain(value) for value in column.isin]},
                    "mustBe": 0,
                    "severity": rule.severity.value,
                }
            )
        else:
            rules.append(_text_rule(rule.name, rule.description, rule.severity, False))
    return rules


def _text_rule(name: str, description: str, severity: Severity, across: bool) -> dict[str, Any]:
    dimension = "consistency" if across else "conformity"
    return {
        "name": name,
        "description": description,
        "dimension": dimension,
        "type": "text",
        "severity": severity.value,
    }


def _team(owner: str) -> dict[str, Any]:
    if owner.startswith("team:"):
        return {"name": owner.removeprefix("team:")}
    return {"name": owner, "members": [{"username": owner, "role": "owner"}]}


def _service_levels(table: type[Table]) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = []
    element = {"element": f"{table.table_name()}.{table.partition}"} if table.partition else {}
    if table.fresh:
        levels.append({"property": "freshness", "value": _minutes(table.fresh.fail), "unit": "min", **element})
        if table.fresh.warn:
            warned = {"property": "freshnessWarning", "value": _minutes(table.fresh.warn), "unit": "min", **element}
            levels.append(warned)
    if table.retention:
        levels.append({"property": "retention", "value": table.retention.days, "unit": "d", **element})
    return levels


def _minutes(span: dt.timedelta) -> int:
    return int(span.total_seconds() // 60)


def _plain(value: Any) -> Any:
    """A bound as YAML has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
