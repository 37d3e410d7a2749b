"""What each table is computed from, and in whose step, as its asset declares.
Belongs here: the register, which knows no Dagster. Not here: any declaration (the domains' assets)."""

from __future__ import annotations

from collections.abc import Iterable

from data_platform.core.contract.table import Days, Table

INPUTS: dict[str, tuple[Days, ...]] = {}
COMPUTED_WITH: dict[str, type[Table]] = {}


def declare_inputs(table: type[Table], inputs: Iterable[Days], computed_with: type[Table] | None = None) -> None:
    INPUTS[table.key] = tuple(inputs)
    if computed_with:
        COMPUTED_WITH[table.key] = computed_with


def inputs_of(table: type[Table]) -> tuple[Days, ...]:
    """What a table is computed from, as declared by its asset; nothing for tables that come from outside."""
    return INPUTS.get(table.key, ())


def computed_with(table: type[Table]) -> type[Table]:
    """The table in whose step this one is computed: itself, unless its spec says otherwise."""
    return COMPUTED_WITH.get(table.key, table)
