"""What Dagster is told a table is, from its contract: key, inputs, partitions, owner, columns and their origins.
Not here: how a table is computed (assets, steps), its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.contract.lineage import declare_inputs, origins
from data_platform.core.contract.table import Days, Table, contracts
from data_platform.core.lake import bitemporal
from data_platform.core.orchestration.automation import once_settled
from data_platform.core.orchestration.checks import asset_key
from data_platform.core.orchestration.code_references import code_references, code_version
from data_platform.core.orchestration.partitions import daily, partition_mapping
from data_platform.core.settings import settings

Input = Days | type[Table]


def spec_for(
    table: type[Table],
    inputs: Mapping[str, Input] | None = None,
    computed_with: type[Table] | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    **more: Any,
) -> dg.AssetSpec:
    """The asset spec of a contract, for steps that several tables come out of; all but one are `computed_with` it."""
    needed = _declare_inputs(table, inputs or {}, computed_with)
    settling = [asset_key(days.table) for days in needed.values() if days.table.only_changed]
    if automation_condition and settling:
        automation_condition = once_settled(automation_condition, settling)
    attributes = described(table, [days.table for days in needed.values()])
    return dg.AssetSpec(
        asset_key(table),
        deps=[dg.AssetDep(asset_key(d.table), partition_mapping=_mapping(table, d)) for d in needed.values()],
        partitions_def=daily() if table.partition else None,
        code_version=table.version(),
        automation_condition=automation_condition,
        **attributes,
        **more,
    )


def computed_by(spec: dg.AssetSpec, table: type[Table], code: Callable[..., Any] | Path) -> dg.AssetSpec:
    """The spec with what computes the table: links to it, and a version that changes with it."""
    found = spec.replace_attributes(code_version=code_version(table, code))
    return found.merge_attributes(metadata={"dagster/code_references": code_references(table, code)})


def history_specs() -> list[dg.AssetSpec]:
    """The journals of all bitemporal tables: written by whatever publishes these, never by a run of their own."""
    specs = []
    for table in contracts().values():
        if table.bitemporal:
            journal = bitemporal.history_of(table)
            spec = spec_for(journal).replace_attributes(deps=[dg.AssetDep(asset_key(table))])
            specs.append(spec.merge_attributes(metadata={"dagster/column_lineage": column_lineage(journal, [table])}))
    return specs


def _declare_inputs(
    table: type[Table], inputs: Mapping[str, Input], computed_with: type[Table] | None = None
) -> dict[str, Days]:
    wanted = {name: given if isinstance(given, Days) else given.days() for name, given in inputs.items()}
    declare_inputs(table, wanted.values(), computed_with)
    return wanted


def described(table: type[Table], upstream: Sequence[type[Table]]) -> dict[str, Any]:
    """What the lineage page shows of a table: owner, kinds, tags, description, columns and where each comes from."""
    return {
        "group_name": table.table_group(),
        "description": table.table_description(),
        "owners": [table.owner],
        "kinds": {table.kind, "deltalake"},
        "tags": {"domain": table.owner.removeprefix("team:"), "partitioned": "daily" if table.partition else "whole"},
        "metadata": {
            "dagster/column_schema": column_schema(table),
            "dagster/column_lineage": column_lineage(table, upstream),
            "dagster/table_name": table.key.replace("/", "."),
            "dagster/uri": f"{settings().lake_root}/{table.key}",
            "dagster/code_references": code_references(table),
            "grain": ", ".join(table.primary_key),
            **({"windows": table.windows.described()} if table.windows else {}),
            **_freshness_promise(table),
        },
    }


def _freshness_promise(table: type[Table]) -> dict[str, str]:
    """In words, not as a policy of Dagster's: its badge looks at when a run last wrote, so that a backfill of March
    turns a table green whose newest day is missing. `quality/freshness` has a check for each table instead."""
    if table.fresh is None:
        return {}
    warned = f"stale after {table.fresh.warn}, " if table.fresh.warn else ""
    return {"freshness": f"{warned}critical after {table.fresh.fail}; see the checks of quality/freshness"}


def column_schema(table: type[Table]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.dtype),
                description=f"{c.description} [{c.unit}]" if c.unit else c.description,
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, other=[rule.description for rule in c.rules()]
                ),
                tags={"personal": c.personal.value} if c.personal else None,
            )
            for c in table.columns.values()
        ]
    )


def column_lineage(table: type[Table], upstream: Sequence[type[Table]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [
                dg.TableColumnDep(asset_key(o.table), o.name) for o in origins(column, upstream) if o.table is not None
            ]
            for name, column in table.columns.items()
            if origins(column, upstream)
        }
    )


def _mapping(table: type[Table], needed: Days) -> dg.PartitionMapping | None:
    return partition_mapping(needed) if table.partition and needed.table.partition else None
